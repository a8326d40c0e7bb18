//! What of serde_json the module uses. A `Value` is its JSON text.

use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub struct Value(String);

#[allow(non_upper_case_globals)]
impl Value {
    pub const Null: Value = Value(String::new());
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[derive(Debug)]
pub struct Error;

pub fn from_str(text: &str) -> Result<Value, Error> {
    Ok(Value(text.to_owned()))
}

/// What `json!` takes.
pub trait Serialize {
    fn json(&self) -> String;
}

impl Serialize for &str {
    fn json(&self) -> String {
        format!("{self:?}")
    }
}

impl Serialize for String {
    fn json(&self) -> String {
        self.as_str().json()
    }
}

impl Serialize for Value {
    fn json(&self) -> String {
        self.0.clone()
    }
}

impl<T: Serialize> Serialize for Vec<T> {
    fn json(&self) -> String {
        let items: Vec<String> = self.iter().map(Serialize::json).collect();
        format!("[{}]", items.join(","))
    }
}

impl Serialize for i32 {
    fn json(&self) -> String {
        self.to_string()
    }
}

impl<T: Serialize> Serialize for Option<T> {
    fn json(&self) -> String {
        self.as_ref().map_or("null".to_owned(), Serialize::json)
    }
}

pub fn value(json: String) -> Value {
    Value(json)
}

#[macro_export]
macro_rules! json {
    ({}) => { $crate::value("{}".to_owned()) };
    ({ $($key:literal : $value:expr),+ }) => {{
        let members: Vec<String> =
            vec![$(format!("{:?}:{}", $key, $crate::Serialize::json(&$value))),+];
        $crate::value(format!("{{{}}}", members.join(",")))
    }};
    ($value:expr) => { $crate::value($crate::Serialize::json(&$value)) };
}
