//! The weight container: a safetensors file, validated whole and read in place.
//!
//! Layout: the header's length as eight little-endian bytes, the header (a JSON object of tensors and
//! `__metadata__`), then the tensors' bytes. <https://huggingface.co/docs/safetensors>

mod error;
mod index;
mod tensor;

pub use error::{ContainerError, TensorRule};
#[cfg(feature = "alloc")]
pub(crate) use index::Index;
pub use tensor::{Dtype, F32s, MAX_RANK, Shape, TensorView};

use crate::json::{Cursor, Inside, JsonError, JsonStr};

/// Longest header in bytes; bounds the time that a hostile file can cost.
pub const MAX_HEADER_BYTES: usize = 1 << 20;
/// Most tensors in one file; names and ranges may have to be compared pair by pair.
pub const MAX_TENSORS: usize = 2048;
/// Most metadata entries in one file.
pub const MAX_METADATA: usize = 256;

/// Tensors that the comparison of pairs holds on the stack.
const PAIR_BATCH: usize = 32;
const LENGTH_BYTES: usize = 8;
const METADATA: &str = "__metadata__";

/// A validated safetensors file in memory. Allocates nothing: look-ups scan the header, or use the index of
/// [`Weights`](crate::Weights).
///
/// ```
/// # fn main() -> Result<(), mbvc_runtime::ContainerError<'static>> {
/// static FILE: &[u8] = b"\x3d\0\0\0\0\0\0\0{\"a.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  \0\0\x80\x3f";
/// let container = mbvc_runtime::Container::parse(FILE)?;
/// let bias = container.tensor("a.bias").and_then(|t| t.f32s());
/// assert_eq!(bias.and_then(|b| b.get(0)), Some(1.0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Container<'a> {
    header: &'a [u8],
    data: &'a [u8],
    metadata: Option<Span>,
    index: Option<&'a [index::Slot]>,
}

/// Where the metadata's object starts and ends in the header. Look-ups of tensors jump over it: labels make it long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

impl<'a> Container<'a> {
    /// Checks every rule of the format: the header's length and JSON, each tensor's type, shape and byte range, unique
    /// names, and ranges that cover the data without gap or overlap.
    pub fn parse(file: &'a [u8]) -> Result<Self, ContainerError<'a>> {
        let mut container = Self::split(file)?;
        container.metadata = container.check()?;
        Ok(container)
    }

    /// Finds header and data again in bytes that [`Container::parse`] has accepted, with the metadata it found.
    #[cfg(feature = "alloc")]
    pub(crate) fn parsed_before(file: &'a [u8], metadata: Option<Span>, index: &'a Index) -> Self {
        let (header, data) = match Self::split(file) {
            Ok(found) => (found.header, found.data),
            Err(_) => (&b"{}"[..], &[][..]),
        };
        Self { header, data, metadata, index: Some(index.slots()) }
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn metadata_span(&self) -> Option<Span> {
        self.metadata
    }

    fn split(file: &'a [u8]) -> Result<Self, ContainerError<'a>> {
        let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
            return Err(ContainerError::NoHeader { file_bytes: file.len() });
        };
        let header_bytes = u64::from_le_bytes(*length);
        let Some(length) = usize::try_from(header_bytes).ok().filter(|&n| n <= MAX_HEADER_BYTES) else {
            return Err(ContainerError::HeaderTooLong { header_bytes });
        };
        match rest.split_at_checked(length) {
            Some((header, data)) => Ok(Self { header, data, metadata: None, index: None }),
            None => Err(ContainerError::HeaderCut { header_bytes, file_bytes: file.len() }),
        }
    }

    fn check(&self) -> Result<Option<Span>, ContainerError<'a>> {
        let mut scan = self.scan().map_err(json)?;
        let mut metadata = None;
        let (mut tensors, mut covered) = (0usize, 0usize);
        // Writers list tensors by name and by place. Where a file does so, that proves names unique and ranges
        // disjoint; only other files pay for comparing all pairs.
        let mut previous: Option<Entry<'a>> = None;
        let mut ordered = true;
        while let Some(item) = scan.item().map_err(json)? {
            let entry = match item {
                Item::Tensor(entry) => entry?,
                Item::Metadata(span) => {
                    if metadata.replace(span).is_some() {
                        return Err(ContainerError::TwoMetadata { at: LENGTH_BYTES + span.start });
                    }
                    self.check_metadata(span)?;
                    continue;
                }
            };
            tensors += 1;
            if tensors > MAX_TENSORS {
                return Err(ContainerError::TooMany { what: "tensors", limit: MAX_TENSORS });
            }
            entry.view(self.data)?;
            covered = covered.saturating_add(entry.end - entry.begin);
            if let Some(previous) = previous {
                ordered &= previous.name.chars().lt(entry.name.chars()) && previous.end <= entry.begin;
            }
            previous = Some(entry);
        }
        scan.cursor.end().map_err(json)?;
        if !ordered {
            self.check_pairs()?;
        }
        if covered != self.data.len() {
            return Err(ContainerError::NotCovered { tensor_bytes: covered, data_bytes: self.data.len() });
        }
        Ok(metadata)
    }

    /// Compares all pairs, a batch of tensors against all later ones at a time, so that the header is read once a
    /// batch and not once a tensor.
    fn check_pairs(&self) -> Result<(), ContainerError<'a>> {
        let mut entries = self.entries();
        loop {
            let mut batch = [None; PAIR_BATCH];
            let later = entries;
            for slot in &mut batch {
                *slot = entries.next();
            }
            if batch[0].is_none() {
                return Ok(());
            }
            for (before, other) in later.enumerate() {
                for one in batch.iter().take(before).flatten() {
                    one.check_against(&other)?;
                }
            }
        }
    }

    fn check_metadata(&self, span: Span) -> Result<(), ContainerError<'a>> {
        let (mut entries, mut count) = (Metadata::at(self.header, span.start).map_err(json)?, 0usize);
        while let Some((key, _)) = entries.pair().map_err(json)? {
            count += 1;
            if count > MAX_METADATA {
                return Err(ContainerError::TooMany { what: "metadata entries", limit: MAX_METADATA });
            }
            let mut rest = entries;
            while let Some((other, _)) = rest.pair().map_err(json)? {
                if key == other {
                    return Err(ContainerError::DuplicateMetadata { key });
                }
            }
        }
        Ok(())
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'a>> {
        let Some(index) = self.index else { return self.tensors().find(|tensor| tensor.name == *name) };
        let entries = index::places(index, name).filter_map(|at| self.entry_at(at));
        entries.filter_map(|entry| entry.view(self.data).ok()).find(|tensor| tensor.name == *name)
    }

    /// All tensors in the header's order.
    pub fn tensors(&self) -> impl Iterator<Item = TensorView<'a>> + Clone + 'a {
        let data = self.data;
        self.entries().filter_map(move |entry| entry.view(data).ok())
    }

    /// The text under that key of `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<JsonStr<'a>> {
        self.metadata_entries().find(|(name, _)| *name == *key).map(|(_, value)| value)
    }

    /// All keys and values of `__metadata__` in the header's order.
    pub fn metadata_entries(&self) -> impl Iterator<Item = (JsonStr<'a>, JsonStr<'a>)> + Clone + 'a {
        self.metadata.and_then(|span| Metadata::at(self.header, span.start).ok()).into_iter().flatten()
    }

    fn scan(&self) -> Result<Scan<'a>, JsonError> {
        let mut cursor = Cursor::new(self.header);
        let inside = cursor.open(b'{')?;
        Ok(Scan { header: self.header, cursor, inside, metadata: self.metadata })
    }

    /// The tensor whose name stands at that place of the header.
    fn entry_at(&self, at: usize) -> Option<Entry<'a>> {
        let mut cursor = Cursor::starting(self.header, at);
        let name = cursor.key().ok()?;
        entry(&mut cursor, at, name).ok()?.ok()
    }

    fn entries(&self) -> Entries<'a> {
        Entries { scan: self.scan().ok() }
    }
}

/// Offsets in the header become offsets in the file.
fn json<'a>(error: JsonError) -> ContainerError<'a> {
    ContainerError::Header { at: LENGTH_BYTES + error.at, rule: error.rule }
}

/// A pass over the members of the header's object.
#[derive(Debug, Clone, Copy)]
struct Scan<'a> {
    header: &'a [u8],
    cursor: Cursor<'a>,
    inside: Inside,
    metadata: Option<Span>,
}

enum Item<'a> {
    Metadata(Span),
    Tensor(Result<Entry<'a>, ContainerError<'a>>),
}

impl<'a> Scan<'a> {
    fn item(&mut self) -> Result<Option<Item<'a>>, JsonError> {
        if !self.cursor.another(&mut self.inside)? {
            return Ok(None);
        }
        let at = self.cursor.at();
        let name = self.cursor.key()?;
        if name == *METADATA {
            let start = self.cursor.at();
            let span = match self.metadata {
                Some(span) => span,
                None => {
                    let mut entries = Metadata::at(self.header, start)?;
                    while entries.pair()?.is_some() {}
                    Span { start, end: entries.cursor.at() }
                }
            };
            self.cursor = Cursor::starting(self.header, span.end);
            return Ok(Some(Item::Metadata(span)));
        }
        entry(&mut self.cursor, at, name).map(Item::Tensor).map(Some)
    }
}

/// `{"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}`, the members in any order.
fn entry<'a>(
    cursor: &mut Cursor<'a>,
    at: usize,
    name: JsonStr<'a>,
) -> Result<Result<Entry<'a>, ContainerError<'a>>, JsonError> {
    let fail = |rule| Ok(Err(ContainerError::Tensor { name, rule }));
    let (mut dtype, mut shape, mut offsets) = (None, None, None);
    let mut members = cursor.open(b'{')?;
    while cursor.another(&mut members)? {
        let key = cursor.key()?;
        let again = if key == *"dtype" {
            let text = cursor.string()?;
            let Some(known) = Dtype::parse(text) else {
                return fail(TensorRule::Dtype { found: text });
            };
            dtype.replace(known).is_some()
        } else if key == *"shape" {
            let mut list = cursor.open(b'[')?;
            let mut dims = Shape::default();
            while cursor.another(&mut list)? {
                if !dims.push(cursor.unsigned()?) {
                    return fail(TensorRule::Rank);
                }
            }
            shape.replace(dims).is_some()
        } else if key == *"data_offsets" {
            let mut list = cursor.open(b'[')?;
            let mut pair = [0; 2];
            for end in &mut pair {
                if !cursor.another(&mut list)? {
                    return fail(TensorRule::Member { key: "data_offsets" });
                }
                *end = cursor.unsigned()?;
            }
            if cursor.another(&mut list)? {
                return fail(TensorRule::Member { key: "data_offsets" });
            }
            offsets.replace(pair).is_some()
        } else {
            return fail(TensorRule::Unknown { key });
        };
        if again {
            return fail(TensorRule::Repeated { key });
        }
    }
    Ok(match (dtype, shape, offsets) {
        (Some(dtype), Some(shape), Some([begin, end])) => Ok(Entry { at, name, dtype, shape, begin, end }),
        (None, _, _) => Err(ContainerError::Tensor { name, rule: TensorRule::Member { key: "dtype" } }),
        (_, None, _) => Err(ContainerError::Tensor { name, rule: TensorRule::Member { key: "shape" } }),
        _ => Err(ContainerError::Tensor { name, rule: TensorRule::Member { key: "data_offsets" } }),
    })
}

/// A tensor as the header declares it; `at` is its name's offset in the header, `begin` and `end` are offsets in the data.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    #[cfg_attr(not(feature = "alloc"), expect(dead_code, reason = "only the index wants it"))]
    at: usize,
    name: JsonStr<'a>,
    dtype: Dtype,
    shape: Shape,
    begin: usize,
    end: usize,
}

impl<'a> Entry<'a> {
    fn check_against(&self, other: &Self) -> Result<(), ContainerError<'a>> {
        let fail = |rule| Err(ContainerError::Tensor { name: self.name, rule });
        if self.name == other.name {
            return fail(TensorRule::Duplicate);
        }
        let disjoint = self.end <= other.begin || other.end <= self.begin;
        if !disjoint && self.begin < self.end && other.begin < other.end {
            return fail(TensorRule::Overlaps { other: other.name });
        }
        Ok(())
    }

    fn view(&self, data: &'a [u8]) -> Result<TensorView<'a>, ContainerError<'a>> {
        let Self { name, dtype, shape, begin, end, .. } = *self;
        let fail = |rule| Err(ContainerError::Tensor { name, rule });
        let Some(expected) = shape.elements().and_then(|n| n.checked_mul(dtype.bytes())) else {
            return fail(TensorRule::TooLarge);
        };
        let Some(bytes) = data.get(begin..end) else {
            return fail(TensorRule::Range { begin, end, data_bytes: data.len() });
        };
        if bytes.len() != expected {
            return fail(TensorRule::Size { expected, found: bytes.len() });
        }
        Ok(TensorView { name, dtype, shape, data: bytes })
    }
}

#[derive(Debug, Clone, Copy)]
struct Entries<'a> {
    scan: Option<Scan<'a>>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            match self.scan.as_mut()?.item().ok()?? {
                Item::Metadata(_) => {}
                Item::Tensor(entry) => return entry.ok(),
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Metadata<'a> {
    cursor: Cursor<'a>,
    inside: Inside,
}

impl<'a> Metadata<'a> {
    fn at(header: &'a [u8], at: usize) -> Result<Self, JsonError> {
        let mut cursor = Cursor::starting(header, at);
        let inside = cursor.open(b'{')?;
        Ok(Self { cursor, inside })
    }

    fn pair(&mut self) -> Result<Option<(JsonStr<'a>, JsonStr<'a>)>, JsonError> {
        if !self.cursor.another(&mut self.inside)? {
            return Ok(None);
        }
        Ok(Some((self.cursor.key()?, self.cursor.string()?)))
    }
}

impl<'a> Iterator for Metadata<'a> {
    type Item = (JsonStr<'a>, JsonStr<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.pair().ok().flatten()
    }
}

#[cfg(test)]
mod tests;
