//! A request, as far as every part of an answer looks at it.

use std::sync::Arc;

use http::request::Parts;

use crate::headers::Named;
use crate::negotiate::Accept;
use crate::shared::Shared;
use crate::status::About;

/// Everything about a request but its route and body.
pub(crate) struct Asked {
    pub(crate) shared: Arc<Shared>,
    pub(crate) head: Parts,
    pub(crate) named: Named,
    pub(crate) accept: Accept,
}

impl Asked {
    pub(crate) fn about(&self) -> About {
        About {
            request_id: self.named.request_id.clone(),
            trace_id: self.named.trace_id(),
            now: (self.shared.options.source.now)(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn ignores_unknown(&self) -> bool {
        let name = format!("{}unknown-fields", self.shared.options.header_prefix);
        self.header(&name).is_some_and(|value| value.eq_ignore_ascii_case("ignore"))
    }
}
