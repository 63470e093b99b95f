//! String attributes (FF IV.A.2.m), and the global heap that contains those of variable length (FF III.E).

use super::cursor::{Address, Cursor};
use super::datatype::{Datatype, shape};
use super::file::File;
use super::group::{dense, until_zero};
use super::header::{Object, kind};
use crate::error::{ImportError, Result};
use crate::text::{elements, shorten};

impl<'a> File<'a> {
    /// Returns the string of attribute `name`, or the first of a list; `None` if it is absent or not a string.
    /// It must not exceed `longest` bytes.
    pub fn string(&self, object: &Object<'a>, name: &str, longest: usize) -> Result<Option<&'a str>> {
        let Some(attribute) = self.attribute(object, name)? else { return Ok(None) };
        self.first(attribute, longest).map_err(|error| error.at(format!("attribute '{}'", shorten(name))))
    }

    /// Returns the strings of attribute `name`, or of `NAME0`, `NAME1`, ..., into which Keras splits a long list; empty if it
    /// is absent or not of strings.
    ///
    /// # Errors
    /// If there are more than `most`, or one exceeds `longest` bytes.
    pub fn strings(&self, object: &Object<'a>, name: &str, most: usize, longest: usize) -> Result<Vec<&'a str>> {
        let mut strings = Vec::new();
        let mut append = |part: &str| -> Result<bool> {
            let Some(mut attribute) = self.attribute(object, part)? else { return Ok(false) };
            for _ in 0..elements(&attribute.shape)? {
                self.step()?;
                let Some(text) = self.next(&mut attribute, longest)? else { break };
                strings.push(text);
                if strings.len() > most {
                    return Err(ImportError::unsupported(format!("attribute '{}' is too long", shorten(name)))
                        .expected(format!("at most {most} strings")));
                }
            }
            Ok(true)
        };
        let mut is_whole = append(name)?;
        for number in 0..most {
            is_whole = is_whole || !append(&format!("{name}{number}"))?;
            if is_whole {
                break;
            }
        }
        Ok(strings)
    }

    pub fn has_attribute(&self, object: &Object<'a>, name: &str) -> Result<bool> {
        Ok(self.attribute(object, name)?.is_some())
    }

    fn attribute(&self, object: &Object<'a>, name: &str) -> Result<Option<Attribute<'a>>> {
        for message in object.messages(kind::ATTRIBUTE) {
            self.step()?;
            if let Some(attribute) = Attribute::named(message?, name)? {
                return Ok(Some(attribute));
            }
        }
        let Some(mut info) = object.message(kind::ATTRIBUTE_INFO)? else { return Ok(None) };
        info.skip(1)?;
        let order = info.u8()? & 1 != 0;
        info.skip(if order { 2 } else { 0 })?;
        if info.offset()?.is_some() { Err(dense("an attribute")) } else { Ok(None) }
    }

    fn first(&self, mut attribute: Attribute<'a>, longest: usize) -> Result<Option<&'a str>> {
        match elements(&attribute.shape)? {
            0 => Ok(None),
            _ => self.next(&mut attribute, longest),
        }
    }

    /// Takes the next string; `None` if the attribute is not of strings.
    fn next(&self, Attribute { datatype, data, .. }: &mut Attribute<'a>, longest: usize) -> Result<Option<&'a str>> {
        let fits = |length| match length <= longest {
            true => Ok(length),
            false => Err(ImportError::unsupported(format!("the string has {length} bytes"))
                .expected(format!("at most {longest}"))),
        };
        let text = match *datatype {
            Datatype::FixedString(size) => until_zero(data.take(fits(size)?)?),
            Datatype::String => {
                let length = fits(data.size(4)?)?;
                let (collection, index) = (data.offset()?, data.u32()?);
                match collection {
                    Some(collection) if length > 0 => self.heap_object(collection, index, length)?,
                    _ => b"",
                }
            }
            Datatype::Number(_) | Datatype::Other(_) => return Ok(None),
        };
        str::from_utf8(text).map(Some).map_err(|_| ImportError::malformed("the string is not UTF-8"))
    }

    /// Returns the first `length` bytes of an object in a global heap collection.
    fn heap_object(&self, collection: Address, number: u32, length: usize) -> Result<&'a [u8]> {
        let mut cursor = self.at(collection)?;
        cursor.expect(b"GCOL\x01\0\0\0", "a global heap")?;
        let size = cursor.length()?;
        let head = self.bytes.len().saturating_sub(collection).saturating_sub(cursor.rest().len());
        let mut objects = cursor.part(size.saturating_sub(head))?;
        loop {
            self.step()?;
            let index = objects.u16()?;
            if index == 0 {
                return Err(ImportError::malformed(format!("the global heap has no object {number}")));
            }
            objects.skip(2 + 4)?;
            let size = objects.length()?;
            if u32::from(index) == number {
                let content = objects.take(size)?;
                return content
                    .get(..length)
                    .ok_or_else(|| ImportError::malformed("a string is longer than its heap object"));
            }
            objects.take_padded(size)?;
        }
    }
}

struct Attribute<'a> {
    datatype: Datatype,
    shape: Vec<usize>,
    data: Cursor<'a>,
}

impl<'a> Attribute<'a> {
    /// Reads the message if it is attribute `expected`.
    fn named(mut message: Cursor<'a>, expected: &str) -> Result<Option<Self>> {
        let version = message.u8()?;
        let flags = message.u8()?;
        let [name, datatype, dataspace] = [message.u16()?, message.u16()?, message.u16()?].map(usize::from);
        if version == 3 {
            // The character set of the name.
            message.skip(1)?;
        }
        let mut part = |size| match version {
            1 => message.padded_part(size),
            2 | 3 => message.part(size),
            other => Err(ImportError::malformed(format!("unsupported attribute version {other}")).expected("1 to 3")),
        };
        let [name, datatype, dataspace] = [part(name)?, part(datatype)?, part(dataspace)?];
        // The name ends at a zero or with the part. Only a prefix is compared: a hostile file has many long names.
        if !matches!(name.rest().strip_prefix(expected.as_bytes()), Some([] | [0, ..])) {
            return Ok(None);
        }
        if version > 1 && flags & 3 != 0 {
            return Err(ImportError::unsupported("an attribute has a shared type")
                .help("save the model again with Keras itself"));
        }
        Ok(Some(Self { datatype: Datatype::read(datatype)?, shape: shape(dataspace)?, data: message }))
    }
}
