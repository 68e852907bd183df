//! What a message says: text, or parts that may be files. Both forms of the API (chat completions and responses) are read
//! by the same types; they differ in names only.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Invalid, text_or_list::TextOrList};
use crate::domain::{
    ask::{STORED_FILE, Upload},
    file_name,
};

/// Parts of one message.
const PARTS_MAX: usize = 100;

/// Text, or parts.
pub type Content = TextOrList<Part>;

/// A part of a message, with the members of whatever kinds of it there are.
#[derive(Debug, Deserialize)]
pub struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<Image>,
    input_audio: Option<Audio>,
    file: Option<File>,
    file_id: Option<String>,
    file_data: Option<String>,
    filename: Option<String>,
}

/// The address of an image: chat completions wrap it into an object, responses do not.
#[derive(Debug)]
struct Image(String);

#[derive(Debug, Deserialize)]
struct Audio {
    data: String,
    format: String,
}

/// A file: its content, or the id of one that was uploaded before.
#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(rename = "file_id")]
    id: Option<String>,
    #[serde(rename = "file_data")]
    data: Option<String>,
    #[serde(rename = "filename")]
    name: Option<String>,
}

/// A file of a message, and where in the request it stands.
#[derive(Debug)]
pub struct Enclosed {
    /// The file.
    pub upload: Upload,
    /// The member that it comes from.
    pub param: String,
}

/// What a message says.
#[derive(Debug, Default)]
pub struct Said {
    /// Its texts, a blank line between two.
    pub text: String,
    /// Its files.
    pub files: Vec<Enclosed>,
}

impl Content {
    /// Takes it apart; `param` is where in the request it stands.
    pub fn read(self, param: &str) -> Result<Said, Invalid> {
        let parts = match self {
            Self::Text(text) => {
                return Ok(Said {
                    text,
                    files: Vec::new(),
                });
            }
            Self::List(parts) => parts,
        };
        if parts.len() > PARTS_MAX {
            return Err(Invalid::new(param, format!("may have at most {PARTS_MAX} parts")));
        }
        let mut said = Said::default();
        for (index, part) in parts.into_iter().enumerate() {
            part.read(&format!("{param}[{index}]"), &mut said)?;
        }
        Ok(said)
    }
}

impl Part {
    fn read(self, param: &str, said: &mut Said) -> Result<(), Invalid> {
        let missing = |member: &str| Invalid::new(format!("{param}.{member}"), "is required");
        let number = said.files.len() + 1;
        let upload = match &*self.kind {
            "text" | "input_text" | "output_text" => {
                say(said, &self.text.ok_or_else(|| missing("text"))?);
                return Ok(());
            }
            "refusal" => {
                say(said, &self.refusal.ok_or_else(|| missing("refusal"))?);
                return Ok(());
            }
            "image_url" | "input_image" => match (self.image_url, self.file_id) {
                (Some(Image(url)), _) => image(url, number, &format!("{param}.image_url"))?,
                (None, Some(id)) => stored(id),
                (None, None) => return Err(missing("image_url")),
            },
            "input_audio" => {
                let audio = self.input_audio.ok_or_else(|| missing("input_audio"))?;
                audio.upload(number, &format!("{param}.input_audio"))?
            }
            "file" => {
                let file = self.file.ok_or_else(|| missing("file"))?;
                file.upload(number, &format!("{param}.file"))?
            }
            "input_file" => {
                let file = File {
                    id: self.file_id,
                    data: self.file_data,
                    name: self.filename,
                };
                file.upload(number, param)?
            }
            _ => {
                let message = "must be a part of text, an image, audio or a file";
                return Err(Invalid::new(format!("{param}.type"), message));
            }
        };
        let param = param.to_owned();
        said.files.push(Enclosed { upload, param });
        Ok(())
    }
}

fn say(said: &mut Said, text: &str) {
    if !said.text.is_empty() && !text.is_empty() {
        said.text.push_str("\n\n");
    }
    said.text.push_str(text);
}

fn image(url: String, number: usize, param: &str) -> Result<Upload, Invalid> {
    // An address would be fetched by Flowise or the model, from inside the network.
    let mime = mime_of(&url).filter(|mime| mime.starts_with("image/"));
    let mime = mime.ok_or_else(|| {
        let message =
            "must be the image itself, as a data URL (data:image/png;base64,...); addresses are not fetched";
        Invalid::new(param, message)
    })?;
    let ending = mime.split(['/', '+']).nth(1).unwrap_or_default().to_owned();
    Ok(Upload {
        kind: "file".to_owned(),
        name: file_name::clean(&format!("image-{number}.{ending}")),
        mime: mime.to_owned(),
        data: url,
    })
}

impl Audio {
    fn upload(self, number: usize, param: &str) -> Result<Upload, Invalid> {
        let mime = match &*self.format {
            "wav" => "audio/wav",
            "mp3" => "audio/mpeg",
            _ => return Err(Invalid::new(format!("{param}.format"), "must be `wav` or `mp3`")),
        };
        Ok(Upload {
            kind: "audio".to_owned(),
            name: format!("audio-{number}.{}", self.format),
            mime: mime.to_owned(),
            data: self.data,
        })
    }
}

impl File {
    fn upload(self, number: usize, param: &str) -> Result<Upload, Invalid> {
        let data = match (self.data, self.id) {
            (Some(data), _) => data,
            (None, Some(id)) => return Ok(stored(id)),
            (None, None) => return Err(Invalid::new(format!("{param}.file_data"), "is required")),
        };
        let mime = mime_of(&data).unwrap_or("application/octet-stream").to_owned();
        let name = self.name.filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| {
            let ending = mime.split('/').nth(1).unwrap_or_default();
            format!("file-{number}.{ending}")
        });
        Ok(Upload {
            kind: "file".to_owned(),
            name: file_name::clean(&name),
            mime,
            data,
        })
    }
}

/// A file that was uploaded before, by the id it got then.
fn stored(id: String) -> Upload {
    Upload {
        kind: STORED_FILE.to_owned(),
        name: String::new(),
        mime: String::new(),
        data: id,
    }
}

/// The media type of a data URL.
fn mime_of(url: &str) -> Option<&str> {
    let head = url.strip_prefix("data:")?.split(',').next()?;
    head.strip_suffix(";base64")?.split(';').next()
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped {
            url: String,
        }

        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Image;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a data URL, or an object with one")
            }

            fn visit_str<E>(self, url: &str) -> Result<Image, E> {
                Ok(Image(url.to_owned()))
            }

            fn visit_string<E>(self, url: String) -> Result<Image, E> {
                Ok(Image(url))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Image, A::Error> {
                let wrapped = Wrapped::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Image(wrapped.url))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(content: Value) -> Result<Said, Invalid> {
        let content: Content = serde_json::from_value(content).unwrap();
        content.read("messages[0].content")
    }

    #[test]
    fn texts_are_joined_and_files_become_uploads() {
        let said = read(json!([
            { "type": "text", "text": "What is" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=", "detail": "low" } },
            { "type": "input_image", "image_url": "data:image/svg+xml;base64,aGk=" },
            { "type": "input_audio", "input_audio": { "data": "aGk=", "format": "mp3" } },
            { "type": "file", "file": { "file_data": "data:application/pdf;base64,aGk=", "filename": "../a.pdf" } },
            { "type": "input_file", "file_id": "d4fd9c78-c25f-458a-89ed-5a4b53eb12cf" },
            { "type": "text", "text": "this?" },
        ]))
        .unwrap();
        assert_eq!(said.text, "What is\n\nthis?");
        let files: Vec<_> = said
            .files
            .iter()
            .map(|Enclosed { upload, .. }| (&*upload.kind, &*upload.name, &*upload.mime, &*upload.data))
            .collect();
        assert_eq!(
            files,
            [
                ("file", "image-1.png", "image/png", "data:image/png;base64,aGk="),
                (
                    "file",
                    "image-2.svg",
                    "image/svg+xml",
                    "data:image/svg+xml;base64,aGk="
                ),
                ("audio", "audio-3.mp3", "audio/mpeg", "aGk="),
                (
                    "file",
                    "a.pdf",
                    "application/pdf",
                    "data:application/pdf;base64,aGk="
                ),
                ("stored-file", "", "", "d4fd9c78-c25f-458a-89ed-5a4b53eb12cf"),
            ]
        );
        assert_eq!(said.files[4].param, "messages[0].content[5]");
    }

    #[test]
    fn a_part_that_is_wrong_is_named() {
        let image = |url: &str| json!([{ "type": "image_url", "image_url": { "url": url } }]);
        for (content, param) in [
            (image("https://example.com/cat.png"), "[0].image_url"),
            (image("data:text/html;base64,aGk="), "[0].image_url"),
            (image("data:image/png,raw"), "[0].image_url"),
            (json!([{ "type": "text" }]), "[0].text"),
            (json!([{ "type": "image_url" }]), "[0].image_url"),
            (json!([{ "type": "file", "file": {} }]), "[0].file.file_data"),
            (
                json!([{ "type": "input_audio", "input_audio": { "data": "", "format": "ogg" } }]),
                "[0].input_audio.format",
            ),
            (json!([{ "type": "video" }]), "[0].type"),
        ] {
            assert_eq!(
                read(content).unwrap_err().param,
                format!("messages[0].content{param}")
            );
        }
        let many = vec![json!({ "type": "text", "text": "" }); 101];
        assert_eq!(read(json!(many)).unwrap_err().param, "messages[0].content");
        assert!(serde_json::from_value::<Content>(json!(7)).is_err());
    }
}
