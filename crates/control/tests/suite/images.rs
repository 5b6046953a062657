//! Images: who waits for which, what is built first and asked of no registry.

use clos_domain::operation::State;
use clos_domain::seams::engine;

use crate::bed::{Bed, FOLDER};

const ONE_IMAGE_EACH: &str = "
services:
  web: {image: web}
  db: {image: db}
  mine: {build: ., image: mine}
  names: {image: 'mine:latest'}
";

#[tokio::test]
async fn a_pull_or_build_that_fails_holds_back_only_the_services_that_need_the_image() {
    let bed = Bed::new().await;
    bed.engine.add_remote_image("web");
    bed.engine.add_remote_image("db");
    bed.files.write(&format!("{FOLDER}/Dockerfile"), "FROM scratch");
    let refused = engine::Error::PullRefused { image: "web".into(), why: "toomanyrequests".into() };
    bed.engine.fail_always("pull", "web", refused);
    let operation = bed.up(ONE_IMAGE_EACH).await;
    assert_eq!(operation.state, State::Failed, "{operation:#?}");
    assert!(!bed.engine.has("shop-web-1"));
    for service in ["db", "mine", "names"] {
        assert!(bed.engine.runs(&format!("shop-{service}-1")), "{service}: {:#?}", bed.engine.log());
    }
    // What is built here is asked of no registry.
    for call in ["image-resolve", "pull"] {
        assert_eq!(bed.engine.calls(call, "mine:latest") + bed.engine.calls(call, "mine"), 0);
    }
}
