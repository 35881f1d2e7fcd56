//! What each operation needs, read from the description that the API serves: what is written there is what is enforced.
//! An operation that does not say its role does not come into being.

use crate::access::Role;
use serde_json::Value;
use std::collections::BTreeMap;

/// The extension that says the role: `viewer`, `operator`, `risk`, or `none` for who has no token.
pub(super) const ROLE_EXTENSION: &str = "x-feedplane-role";
/// The extension that says other roles for some services, where the path has `{service}` or the body names them.
pub(super) const ROLE_BY_SERVICE_EXTENSION: &str = "x-feedplane-role-by-service";

/// Most characters of a parameter of the query that does not say how many.
const QUERY_VALUE_MAX: usize = 4_096;

/// A description that cannot be enforced.
#[derive(Debug, thiserror::Error)]
#[error("the operation {method} {path} of the API: {what}")]
pub struct OperationsError {
    method: String,
    path: String,
    what: String,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id in the description.
    pub id: String,
    /// The least role; none when nobody is asked for a token.
    pub role: Option<Role>,
    /// Other roles for some values of the path's `service`.
    pub by_service: BTreeMap<String, Role>,
    /// The query's parameters, and how many characters each has at most.
    pub query: BTreeMap<String, usize>,
    /// Whether it takes a body.
    pub has_body: bool,
}

/// All operations, by method and path template.
#[derive(Clone, Debug, Default)]
pub struct Operations(BTreeMap<(String, String), Operation>);

impl Operations {
    /// The operations of an OpenAPI description.
    ///
    /// # Errors
    /// When one has no id or no role.
    pub fn of(description: &Value) -> Result<Operations, OperationsError> {
        let mut operations = BTreeMap::new();
        let paths = description["paths"].as_object().into_iter().flatten();
        for (path, item) in paths {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let refused =
                    |what: String| OperationsError { method: method.clone(), path: path.clone(), what };
                let read = read(operation).map_err(refused)?;
                operations.insert((method.to_uppercase(), path.clone()), read);
            }
        }
        Ok(Operations(operations))
    }

    /// The operation of a method and a path template. HEAD is GET's.
    pub fn find(&self, method: &str, template: &str) -> Option<&Operation> {
        let method = if method == "HEAD" { "GET" } else { method };
        self.0.get(&(method.to_owned(), template.to_owned()))
    }
}

fn read(operation: &Value) -> Result<Operation, String> {
    let role = |word: &Value| match word.as_str() {
        Some("none") => Ok(None),
        Some(word) => word.parse().map(Some),
        None => Err(format!("has no {ROLE_EXTENSION}; say who may call it")),
    };
    let by_service = operation[ROLE_BY_SERVICE_EXTENSION].as_object().into_iter().flatten();
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    Ok(Operation {
        id: operation["operationId"].as_str().ok_or("has no operationId")?.to_owned(),
        role: role(&operation[ROLE_EXTENSION])?,
        by_service: by_service
            .map(|(service, word)| {
                let role = role(word)?.ok_or("gives a service to everybody")?;
                Ok((service.clone(), role))
            })
            .collect::<Result<_, String>>()?,
        query: parameters
            .filter(|parameter| parameter["in"] == "query")
            .filter_map(|parameter| {
                let length_max =
                    parameter["schema"]["maxLength"].as_u64().map_or(QUERY_VALUE_MAX, |most| most as usize);
                Some((parameter["name"].as_str()?.to_owned(), length_max))
            })
            .collect(),
        has_body: operation.get("requestBody").is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_operation_that_does_not_say_its_role_does_not_come_into_being() {
        let description = |operation: Value| json!({"paths": {"/v1/a": {"get": operation}}});
        for (operation, what) in [
            (json!({"operationId": "a"}), "has no x-feedplane-role"),
            (json!({"operationId": "a", "x-feedplane-role": "root"}), "\"root\" is no role"),
            (json!({"x-feedplane-role": "none"}), "has no operationId"),
        ] {
            let error = Operations::of(&description(operation)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        let good = description(json!({"operationId": "a", "x-feedplane-role": "risk",
            "parameters": [{"name": "limit", "in": "query"}, {"name": "id", "in": "path"}]}));
        let operations = Operations::of(&good).unwrap();
        let operation = operations.find("HEAD", "/v1/a").unwrap();
        assert_eq!(operation.role, Some(Role::Risk));
        assert_eq!(operation.query, BTreeMap::from([("limit".to_owned(), QUERY_VALUE_MAX)]));
        assert!(operations.find("POST", "/v1/a").is_none());
    }
}
