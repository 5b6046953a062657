//! Who is restarted together with a service: `depends_on: {db: {restart: true}}`.

use std::collections::BTreeSet;

use crate::name::ServiceName;
use crate::service::Service;

/// The names, and the running services that follow one of them, directly or through another.
pub fn restarted_with(all: &[Service], names: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
    let mut found = names.clone();
    let mut left: Vec<&Service> = all.iter().filter(|service| service.observed.is_running()).collect();
    loop {
        let before = found.len();
        left.retain(|service| {
            let mut follows = service.definition.depends_on.iter().filter(|need| need.restart);
            let is_follower = follows.any(|need| found.contains(&need.service));
            if is_follower {
                found.insert(service.definition.name.clone());
            }
            !is_follower
        });
        if found.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::tests::{group, service};
    use crate::health::Verdict;
    use crate::service::{Condition, Dependency, Observed};

    #[test]
    fn running_followers_come_along_and_nobody_else() {
        let shop = group("shop");
        let of = |name: &str, need: &str, restart: bool, runs: bool| {
            let mut one = service(&shop, name);
            if !need.is_empty() {
                one.definition.depends_on = vec![Dependency {
                    service: ServiceName::parse("service", need).unwrap(),
                    condition: Condition::Started,
                    required: true,
                    restart,
                }];
            }
            if runs {
                one.observed = Observed::Running(Verdict::None);
            }
            one
        };
        let all = [
            of("front", "web", true, true),
            of("web", "db", true, true),
            of("job", "db", true, false),
            of("cache", "db", false, true),
            of("db", "", false, true),
        ];
        let db = BTreeSet::from([ServiceName::parse("service", "db").unwrap()]);
        let names: Vec<String> = restarted_with(&all, &db).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["db", "front", "web"]);
    }
}
