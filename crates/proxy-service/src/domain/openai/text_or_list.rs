//! Members that are a text or a list: this API has several.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

/// A text, or a list of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextOrList<T> {
    /// A text.
    Text(String),
    /// A list.
    List(Vec<T>),
}

/// What is wrong with an entry is told as it is, which a choice of serde's (`untagged`) would not.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOrList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = TextOrList<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOrList::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(TextOrList::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    entries.push(entry);
                }
                Ok(TextOrList::List(entries))
            }
        }

        deserializer.deserialize_any(Reader(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_is_a_text_or_a_list_and_nothing_else() {
        let read = |value: Value| serde_json::from_value::<TextOrList<u8>>(value);
        assert_eq!(read(json!("a")).unwrap(), TextOrList::Text("a".to_owned()));
        assert_eq!(read(json!([1, 2])).unwrap(), TextOrList::List(vec![1, 2]));
        for (bad, told) in [
            (json!(7), "expected text or a list"),
            (json!([1, "x"]), "invalid type: string \"x\", expected u8"),
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
