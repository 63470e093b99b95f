//! Mutations that preserve lengths and checksums: the content of a part is changed, and the parts are reassembled in
//! their format. One of eight mutations changes any byte instead.

use std::io::{Cursor, Read as _, Write as _};

use libfuzzer_sys::fuzzer_mutate;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::sidecars::{MARK, split};
use checksum::Checksum;

#[path = "../../runtime/src/formats/checksum.rs"]
mod checksum;

const LENGTH: usize = 8;
/// Bytes of the header of a packed file. The last four are the checksum of all others.
const HEADER: usize = 64;

/// Members of zip archives; other files are changed as bytes.
pub fn archive(bytes: &mut [u8], size: usize, limit: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    let changed = if random.below(8) == Some(0) { None } else { changed_archive(&bytes[..size], limit, &mut random) };
    put(bytes, size, limit, changed)
}

/// The header of a safetensors file, whose length is updated, its data, or one of its configuration files.
pub fn weights(bytes: &mut [u8], size: usize, limit: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    let changed = if random.below(8) == Some(0) { None } else { changed_weights(&bytes[..size], limit, &mut random) };
    put(bytes, size, limit, changed)
}

/// The header of a packed file, or the numbers and the text after it; lengths are preserved and the checksum is updated.
pub fn packed(bytes: &mut [u8], size: usize, limit: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    let changed = if random.below(8) == Some(0) { None } else { changed_packed(&bytes[..size], &mut random) };
    put(bytes, size, limit, changed)
}

/// Result of a mutator: the changed file if it fits, otherwise one with arbitrarily changed bytes.
fn put(bytes: &mut [u8], size: usize, limit: usize, changed: Option<Vec<u8>>) -> usize {
    match changed.filter(|changed| changed.len() <= limit.min(bytes.len())) {
        Some(changed) => {
            bytes[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        None => fuzzer_mutate(bytes, size, limit),
    }
}

fn changed_archive(bytes: &[u8], limit: usize, random: &mut Random) -> Option<Vec<u8>> {
    const MOST: u64 = 1 << 20;
    let mut archive = ZipArchive::new(Cursor::new(bytes)).ok()?;
    let mut members = Vec::new();
    for at in 0..archive.len().min(400) {
        let mut member = archive.by_index(at).ok()?;
        let (name, mut content) = (member.name().ok()?.into_owned(), Vec::new());
        member.by_ref().take(MOST).read_to_end(&mut content).ok()?;
        members.push((name, content));
    }
    let at = random.below(members.len())?;
    match random.below(16) {
        Some(0) => drop(members.remove(at)),
        Some(1) => {
            let copy = members[at].clone();
            members.push((format!("{}2", copy.0), copy.1));
        }
        Some(2) => {
            let name = changed(members[at].0.as_bytes(), limit);
            members[at].0 = String::from_utf8_lossy(&name).into_owned();
        }
        _ => members[at].1 = changed(&members[at].1, limit),
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        writer.start_file(name, options).ok()?;
        writer.write_all(&content).ok()?;
    }
    Some(writer.finish().ok()?.into_inner())
}

fn changed_weights(bytes: &[u8], limit: usize, random: &mut Random) -> Option<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = split(bytes).into_iter().map(<[u8]>::to_vec).collect();
    let at = random.below(pieces.len())?;
    pieces[at] = if at == 0 { changed_safetensors(&pieces[0], limit, random)? } else { changed(&pieces[at], limit) };
    Some(pieces.join(MARK))
}

fn changed_safetensors(bytes: &[u8], limit: usize, random: &mut Random) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    let (header, data) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (header, data) = if random.below(3) == Some(0) {
        // The same number of bytes, which the header covers.
        let mut changed = changed(data, data.len());
        changed.resize(data.len(), 0);
        (header.to_vec(), changed)
    } else {
        (changed(header, limit), data.to_vec())
    };
    Some([&(header.len() as u64).to_le_bytes()[..], &header, &data].concat())
}

fn changed_packed(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (mut header, mut rest) = (header.to_vec(), rest.to_vec());
    let part = if random.below(16) == Some(0) { &mut header } else { &mut rest };
    let length = part.len();
    *part = changed(part, length);
    part.resize(length, 0);
    let sum = Checksum::new().add(&header[..HEADER - 4]).add(&rest).finish();
    header[HEADER - 4..].copy_from_slice(&sum.to_le_bytes());
    Some([header, rest].concat())
}

/// Returns `content` after a mutation of libFuzzer.
fn changed(content: &[u8], limit: usize) -> Vec<u8> {
    let mut buffer = content.to_vec();
    buffer.resize(limit.max(content.len()).max(1), 0);
    let most = buffer.len();
    let length = fuzzer_mutate(&mut buffer, content.len(), most);
    buffer.truncate(length);
    buffer
}

/// Numbers from a seed (Steele et al. 2014, `SplitMix64`).
struct Random(u64);

impl Random {
    fn new(seed: u32) -> Self {
        Self(seed.into())
    }

    /// Returns a number below `count`; `None` if `count` is 0.
    fn below(&mut self, count: usize) -> Option<usize> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) as usize).checked_rem(count)
    }
}
