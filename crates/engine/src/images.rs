//! Images: what is here, what a registry has, pull and build.

use clos_domain::seams::engine::Error;

use crate::call::{Effect, Fault, within};
use crate::docker::Docker;
use crate::{deadline, name};

impl Docker {
    /// The id that an image's name means now.
    pub(crate) async fn image_id(&self, image: &str) -> Result<String, Error> {
        let image = name::check_image(image)?;
        let what = format!("inspect image `{image}`");
        let call = self.client().inspect_image(image);
        match within(deadline::READ, &what, Effect::Reads, call).await {
            Ok(found) => Ok(found.id.unwrap_or_default()),
            Err(Fault::Answer { status: 404, .. }) => Err(Error::NoImage(image.to_owned())),
            Err(fault) => Err(fault.into()),
        }
    }
}
