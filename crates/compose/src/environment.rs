//! Which variables there are: the caller's shell, over `.env`, over the env files of an `include`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::interpolate::Lookup;
use crate::limits;

pub(crate) const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";

#[derive(Clone, Debug)]
pub(crate) struct Environment<'a> {
    variables: &'a BTreeMap<String, Option<String>>,
    dotenv: Rc<BTreeMap<String, String>>,
    included: Rc<BTreeMap<String, String>>,
    project_name: Option<Rc<str>>,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(variables: &'a BTreeMap<String, Option<String>>) -> Self {
        Self { variables, dotenv: Rc::default(), included: Rc::default(), project_name: None }
    }

    pub(crate) fn with_dotenv(mut self, dotenv: BTreeMap<String, String>) -> Self {
        self.dotenv = Rc::new(dotenv);
        self
    }

    /// Once it is settled it can be used in the files.
    pub(crate) fn with_project_name(mut self, name: &str) -> Self {
        self.project_name = Some(Rc::from(name));
        self
    }

    /// For the files of an `include`: what is known already wins.
    pub(crate) fn with_included(&self, more: BTreeMap<String, String>) -> Self {
        let mut included = more;
        included.extend(self.included.iter().map(|(name, value)| (name.clone(), value.clone())));
        Self { included: Rc::new(included), ..self.clone() }
    }

    /// A name that only a file of an `include` sets is still asked for: the caller's shell would win.
    pub(crate) fn get(&self, name: &str) -> Lookup {
        if name == PROJECT_NAME
            && let Some(project) = &self.project_name
        {
            return Lookup::Value(project.to_string());
        }
        let asked = self.variables.get(name);
        if let Some(Some(value)) = asked {
            return Lookup::Value(value.clone());
        }
        if let Some(value) = self.dotenv.get(name) {
            return Lookup::Value(value.clone());
        }
        let included = self.included.get(name).cloned();
        match (asked, included) {
            (None, included) => Lookup::Unknown(included),
            (Some(_), Some(value)) => Lookup::Value(value),
            (Some(_), None) => Lookup::Unset,
        }
    }

    /// The same, for names that are only taken if the caller sent them unasked.
    pub(crate) fn if_known(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Lookup::Value(value) => Some(value),
            Lookup::Unset | Lookup::Unknown(_) => None,
        }
    }
}

/// The names that nobody knows yet, over all files.
#[derive(Debug, Default)]
pub(crate) struct Unknown(BTreeSet<String>);

impl Unknown {
    pub(crate) fn look(&mut self, environment: &Environment<'_>, name: &str) -> Lookup {
        let found = environment.get(name);
        if matches!(found, Lookup::Unknown(_)) && self.0.len() < limits::VARIABLES {
            self.0.insert(name.to_owned());
        }
        found
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_names(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_shell_wins_over_dotenv_and_dotenv_over_an_included_file() {
        let variables = BTreeMap::from([("A".to_owned(), Some("shell".to_owned())), ("N".to_owned(), None)]);
        let environment = Environment::new(&variables)
            .with_dotenv(map(&[("A", "env"), ("B", "env")]))
            .with_included(map(&[("B", "included"), ("C", "included"), ("N", "included")]));
        assert_eq!(environment.get("A"), Lookup::Value("shell".to_owned()));
        assert_eq!(environment.get("B"), Lookup::Value("env".to_owned()));
        assert_eq!(environment.get("C"), Lookup::Unknown(Some("included".to_owned())));
        assert_eq!(environment.get("N"), Lookup::Value("included".to_owned()));
        assert_eq!(environment.get("D"), Lookup::Unknown(None));
    }

    #[test]
    fn unknown_names_are_collected_and_known_unset_ones_are_not() {
        let variables = BTreeMap::from([("N".to_owned(), None)]);
        let environment = Environment::new(&variables);
        let mut unknown = Unknown::default();
        for name in ["X", "N", "A", "X"] {
            unknown.look(&environment, name);
        }
        assert_eq!(unknown.into_names(), ["A", "X"]);
    }
}
