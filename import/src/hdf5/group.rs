//! Members of groups: symbol tables (FF III.A.1, III.B, III.D) and link messages (FF IV.A.2.g).

use std::collections::BTreeMap;

use super::cursor::{Address, Cursor};
use super::file::File;
use super::header::{Object, kind};
use crate::error::{ImportError, Result};

/// Greatest depth of a group's B-tree, sufficient for billions of members.
const MAX_DEPTH: usize = 16;

/// Longest name; those of Keras are under 100 bytes.
const LONGEST_NAME: usize = 1 << 10;

/// Addresses of members by name.
pub type Members<'a> = BTreeMap<&'a str, Address>;

impl<'a> File<'a> {
    /// Returns the members of a group, without soft and external links. A dataset has none.
    pub fn members(&self, group: &Object<'a>) -> Result<Members<'a>> {
        let mut members = Members::new();
        if let Some(mut table) = group.message(kind::SYMBOL_TABLE)? {
            let (tree, heap) = (table.address("a group's tree")?, table.address("a group's heap")?);
            let names = self.local_heap(heap)?;
            self.symbols(tree, names, MAX_DEPTH, &mut members)?;
        }
        for link in group.messages(kind::LINK) {
            self.step()?;
            if let Some((name, address)) = link_of(link?)? {
                members.insert(name, address);
            }
        }
        if let Some(mut info) = group.message(kind::LINK_INFO)? {
            info.skip(1)?;
            let order = info.u8()? & 1 != 0;
            info.skip(if order { 8 } else { 0 })?;
            if info.offset()?.is_some() {
                return Err(dense("a group"));
            }
        }
        Ok(members)
    }

    /// Returns the data block of a local heap.
    fn local_heap(&self, address: Address) -> Result<&'a [u8]> {
        let mut heap = self.at(address)?;
        heap.expect(b"HEAP\0\0\0\0", "a local heap")?;
        let size = heap.length()?;
        // The list of free blocks.
        heap.length()?;
        self.at(heap.address("a heap's data")?)?.take(size)
    }

    fn symbols(&self, address: Address, names: &'a [u8], depth: usize, members: &mut Members<'a>) -> Result<()> {
        self.step()?;
        let mut node = self.at(address)?;
        if node.rest().starts_with(b"SNOD") {
            return self.symbol_node(node, names, members);
        }
        node.expect(b"TREE\0", "a node of a group's tree")?;
        // The level.
        node.skip(1)?;
        let count = node.u16()?;
        // Siblings, and the first key.
        node.offset()?;
        node.offset()?;
        node.length()?;
        let deeper = depth.checked_sub(1).ok_or_else(|| ImportError::malformed("the B-tree of a group is too deep"))?;
        for _ in 0..count {
            self.symbols(node.address("a node")?, names, deeper, members)?;
            node.length()?;
        }
        Ok(())
    }

    fn symbol_node(&self, mut node: Cursor<'a>, names: &'a [u8], members: &mut Members<'a>) -> Result<()> {
        const SOFT_LINK: u32 = 2;
        node.expect(b"SNOD\x01", "a symbol table node")?;
        node.skip(1)?;
        let count = node.u16()?;
        for _ in 0..count {
            self.step()?;
            let name_at = node.address("a name")?;
            let address = node.offset()?;
            let cached = node.u32()?;
            node.skip(4 + 16)?;
            let name = names.get(name_at..).map(|names| names.get(..=LONGEST_NAME).unwrap_or(names)).map(until_zero);
            let name = name.ok_or_else(|| ImportError::malformed("a name is outside its heap"))?;
            if let (Some(address), true) = (address, cached != SOFT_LINK) {
                members.insert(name_of(name)?, address);
            }
        }
        Ok(())
    }
}

/// The error for structures that only `libver="latest"` writes.
pub fn dense(what: &str) -> Box<ImportError> {
    ImportError::unsupported(format!("{what} of the HDF5 file is stored in a fractal heap"))
        .expected("h5py's default format")
        .help("save the model again with Keras itself, or copy the file with `h5repack --low=0 --high=0`")
}

pub fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn name_of(bytes: &[u8]) -> Result<&str> {
    str::from_utf8(bytes)
        .ok()
        .filter(|name| name.len() <= LONGEST_NAME && !name.contains('/'))
        .ok_or_else(|| ImportError::malformed("a name in the HDF5 file is too long, not UTF-8, or contains a slash"))
}

fn link_of(mut link: Cursor<'_>) -> Result<Option<(&str, Address)>> {
    link.expect(&[1], "a link of version 1")?;
    let flags = link.u8()?;
    let hard = flags & 8 == 0 || link.u8()? == 0;
    // Order of creation, and the character set.
    link.skip(if flags & 4 != 0 { 8 } else { 0 })?;
    link.skip(if flags & 16 != 0 { 1 } else { 0 })?;
    let length = link.size(1 << (flags & 3))?;
    let name = name_of(link.take(length)?)?;
    Ok(if hard { Some((name, link.address("a link")?)) } else { None })
}
