//! The methods that there are, and what the contract says of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clos_domain::{Error, Result};

/// One method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Method {
    /// Its path on the wire: `/clos.v2.ServicesApi/GetService`.
    pub(crate) path: String,
    /// What a caller must hold; `-` is nothing.
    pub(crate) permission: String,
    /// Whether its answer is a stream.
    pub(crate) is_stream: bool,
    /// How long it may take when the caller does not say; `None` is the setting.
    pub(crate) patience: Option<Duration>,
}

impl Method {
    /// What is counted for a path that is no method.
    pub(crate) const UNKNOWN: &str = "unknown";

    /// Whether it needs no credentials.
    pub(crate) fn is_open(&self) -> bool {
        self.permission == clos_proto::NO_PERMISSION
    }
}

/// Methods that are not ours; everybody who may connect may call them.
const COMMON: [(&str, bool); 4] = [
    ("/grpc.health.v1.Health/Check", false),
    ("/grpc.health.v1.Health/Watch", true),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true),
];

/// The longest that anything is waited for which is no stream.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Methods that wait for an operation themselves.
const SLOW: [(&str, Duration); 3] = [
    ("/clos.v2.OperationsApi/WaitOperation", LONGEST),
    // With `force` they take down first.
    ("/clos.v2.ServicesApi/DeleteService", Duration::from_secs(600)),
    ("/clos.v2.GroupsApi/DeleteGroup", Duration::from_secs(600)),
];

/// Every method by its path.
pub(crate) struct Methods(HashMap<String, Arc<Method>>);

impl Methods {
    /// # Errors
    /// A method that does not state its permission: nobody is served then.
    pub(crate) fn of_the_contract() -> Result<Self> {
        let permissions = clos_proto::permissions();
        let mut methods = HashMap::new();
        for method in clos_proto::methods() {
            let path = clos_proto::path(&method);
            let Some(permission) = permissions.get(&path) else {
                return Err(Error::internal(format!("{path} does not state its permission")));
            };
            let patience = SLOW.iter().find(|(slow, _)| *slow == path).map(|(_, patience)| *patience);
            let permission = permission.clone();
            let is_stream = method.is_server_streaming();
            methods.insert(path.clone(), Arc::new(Method { path, permission, is_stream, patience }));
        }
        for (path, is_stream) in COMMON {
            let permission = clos_proto::NO_PERMISSION.to_owned();
            let method = Method { path: path.to_owned(), permission, is_stream, patience: None };
            methods.insert(path.to_owned(), Arc::new(method));
        }
        Ok(Self(methods))
    }

    pub(crate) fn named(&self, path: &str) -> Option<Arc<Method>> {
        self.0.get(path).cloned()
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<&Method> {
        let mut all: Vec<&Method> = self.0.values().map(Arc::as_ref).collect();
        all.sort_by(|one, other| one.path.cmp(&other.path));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_is_named_here_exists() {
        let methods = Methods::of_the_contract().unwrap();
        for (path, _) in SLOW {
            assert!(methods.named(path).is_some_and(|method| method.patience.is_some()), "{path}");
        }
        let count = clos_proto::methods().count();
        assert_eq!(methods.all().len(), count + COMMON.len());
        assert!(methods.named("/clos.v2.EventsApi/WatchEvents").unwrap().is_stream);
        assert!(!methods.named("/clos.v2.EventsApi/ListEvents").unwrap().is_stream);
    }
}
