//! The method behind the socket for many subscriptions, and the fields that its frames need.

use clos_protojson::schema::Schema;

use super::Routes;
use crate::options::Multiplex;

/// What the options name, found in the descriptors.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) wanted: Multiplex,
    /// A route of the method.
    pub(crate) route: usize,
    /// Number of the request's field.
    pub(crate) after: u32,
    pub(crate) kind: usize,
    pub(crate) position: usize,
}

impl Place {
    /// Finds the method and its fields.
    pub(crate) fn of(schema: &Schema, routes: &Routes, wanted: &Multiplex) -> Result<Self, String> {
        let routes = &routes.routes;
        let route = routes.iter().position(|route| route.method.full_name() == wanted.method);
        let route = route.ok_or_else(|| format!("{}: the socket needs a route of it", wanted.method))?;
        if !routes[route].is_server_stream || routes[route].is_client_stream {
            return Err(format!("{}: the socket needs a method that streams its answers", wanted.method));
        }
        let response = schema.message(routes[route].response);
        let field = |name: &str| {
            response
                .by_name(name)
                .ok_or_else(|| format!("{}: `{}` has no field `{name}`", wanted.method, response.name))
        };
        let request = schema.message(routes[route].request);
        let after = request.field(&wanted.after).ok_or_else(|| {
            format!("{}: `{}` has no field `{}`", wanted.method, request.name, wanted.after)
        })?;
        let (kind, position) = (field(&wanted.kind)?, field(&wanted.position)?);
        Ok(Self { wanted: wanted.clone(), route, after: after.number, kind, position })
    }
}
