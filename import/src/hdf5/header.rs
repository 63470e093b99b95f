//! Object headers: messages that describe a group or dataset (FF IV.A.1).

use std::collections::VecDeque;

use super::cursor::{Address, Cursor};
use super::file::File;
use crate::error::{ImportError, Result};

/// Types of messages (FF IV.A.2).
pub mod kind {
    pub const DATASPACE: u16 = 0x01;
    pub const LINK_INFO: u16 = 0x02;
    pub const DATATYPE: u16 = 0x03;
    pub const OLD_FILL_VALUE: u16 = 0x04;
    pub const FILL_VALUE: u16 = 0x05;
    pub const LINK: u16 = 0x06;
    pub const LAYOUT: u16 = 0x08;
    pub const FILTERS: u16 = 0x0b;
    pub const ATTRIBUTE: u16 = 0x0c;
    pub const CONTINUATION: u16 = 0x10;
    pub const SYMBOL_TABLE: u16 = 0x11;
    pub const ATTRIBUTE_INFO: u16 = 0x15;
}

/// A group or dataset.
#[derive(Debug)]
pub struct Object<'a> {
    messages: Vec<Message<'a>>,
}

#[derive(Debug)]
struct Message<'a> {
    kind: u16,
    /// Whether the content is a reference to a shared message.
    shared: bool,
    content: Cursor<'a>,
}

impl<'a> Object<'a> {
    /// Iterates over the messages of one type.
    pub fn messages(&self, kind: u16) -> impl Iterator<Item = Result<Cursor<'a>>> {
        self.messages.iter().filter(move |message| message.kind == kind).map(|message| {
            if message.shared {
                return Err(ImportError::unsupported("the HDF5 file uses shared messages")
                    .help("save the model again with Keras itself"));
            }
            Ok(message.content)
        })
    }

    /// Returns the first message of a type.
    pub fn message(&self, kind: u16) -> Result<Option<Cursor<'a>>> {
        self.messages(kind).next().transpose()
    }

    pub fn is_dataset(&self) -> bool {
        self.messages.iter().any(|message| message.kind == kind::LAYOUT)
    }
}

impl<'a> File<'a> {
    pub fn root(&self) -> Result<Object<'a>> {
        self.object(self.root)
    }

    /// Returns the object with the header at `address`.
    pub fn object(&self, address: Address) -> Result<Object<'a>> {
        self.step()?;
        let mut cursor = self.at(address)?;
        if cursor.rest().starts_with(b"OHDR") { self.version_2(cursor) } else { self.version_1(&mut cursor) }
    }

    fn version_1(&self, cursor: &mut Cursor<'a>) -> Result<Object<'a>> {
        cursor.expect(&[1], "an object header")?;
        cursor.skip(1)?;
        let count = cursor.u16()?;
        // Reference count.
        cursor.skip(4)?;
        let size = cursor.size(4)?;
        cursor.skip(4)?;
        let mut blocks = VecDeque::from([cursor.part(size)?]);
        let mut messages = Vec::new();
        for _ in 0..count {
            // Blocks are read in order of continuation.
            while blocks.front().is_some_and(|block| block.rest().len() < 8) {
                blocks.pop_front();
            }
            let Some(block) = blocks.front_mut() else { break };
            self.step()?;
            let (kind, size, flags) = (block.u16()?, block.u16()?, block.u8()?);
            block.skip(3)?;
            let content = block.part(size.into())?;
            if kind == kind::CONTINUATION {
                blocks.push_back(self.continuation(content)?);
                continue;
            }
            messages.push(Message { kind, shared: flags & 2 != 0, content });
        }
        Ok(Object { messages })
    }

    fn version_2(&self, mut cursor: Cursor<'a>) -> Result<Object<'a>> {
        cursor.expect(b"OHDR\x02", "an object header of version 2")?;
        let flags = cursor.u8()?;
        if flags & 0x20 != 0 {
            // Four times: access, modification, change, birth.
            cursor.skip(16)?;
        }
        if flags & 0x10 != 0 {
            cursor.skip(4)?;
        }
        let size = cursor.size(1 << (flags & 3))?;
        let mut blocks = vec![cursor.part(size)?];
        let mut messages = Vec::new();
        let head = if flags & 4 != 0 { 6 } else { 4 };
        while let Some(mut block) = blocks.pop() {
            while block.rest().len() >= head {
                self.step()?;
                let (kind, size, shared) = (block.u8()?.into(), block.u16()?, block.u8()? & 2 != 0);
                block.skip(head - 4)?;
                let content = block.part(size.into())?;
                if kind == kind::CONTINUATION {
                    let mut next = self.continuation(content)?;
                    next.expect(b"OCHK", "a continuation of an object header")?;
                    let messages = next.rest().len().saturating_sub(4);
                    blocks.push(next.part(messages)?);
                    continue;
                }
                messages.push(Message { kind, shared, content });
            }
        }
        Ok(Object { messages })
    }

    fn continuation(&self, mut message: Cursor<'a>) -> Result<Cursor<'a>> {
        let (address, size) = (message.address("a continuation")?, message.length()?);
        self.at(address)?.part(size)
    }
}
