//! The header of a weights file: tensors with their types, shapes and byte ranges, and the metadata.

use super::error::{ContainerError, TensorRule};
use super::index;
use super::limits::{MAX_HEADER_BYTES, MAX_METADATA, MAX_TENSORS};
use super::tensor::{Dtype, Shape, TensorView};
use crate::formats::json::{Cursor, Inside, JsonError, JsonStr};
use crate::formats::magic;

/// Number of tensors that the comparison of pairs keeps on the stack.
const PAIR_BATCH: usize = 32;
const LENGTH_BYTES: usize = 8;
const METADATA: &str = "__metadata__";

/// The header of a weights file, fully validated. The tensors' bytes need not be in memory.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    text: &'a [u8],
    /// Bytes of the tensors, which follow the header in the file.
    data_bytes: usize,
    metadata: Option<Span>,
    index: Option<&'a [index::Slot]>,
}

/// A tensor declared by a header.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    /// Name, unique in the file.
    pub name: JsonStr<'a>,
    /// Element type.
    pub dtype: Dtype,
    /// Shape. Shape and type match the number of bytes.
    pub shape: Shape,
}

/// Start and end of the metadata object in the header. Look-ups of tensors skip it, since labels make it long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

impl<'a> Header<'a> {
    /// Returns the bytes from the file's start to the end of the header. `start` is the start of the file, at least
    /// eight bytes.
    ///
    /// # Errors
    /// If `start` has fewer than eight bytes, or declares a header longer than [`MAX_HEADER_BYTES`].
    pub fn bytes(start: &[u8]) -> Result<usize, ContainerError<'a>> {
        let Some(length) = start.first_chunk::<LENGTH_BYTES>() else {
            return Err(ContainerError::NoHeader { file_bytes: start.len() });
        };
        if magic::is_packed(length) {
            return Err(ContainerError::Packed);
        }
        let header_bytes = u64::from_le_bytes(*length);
        match usize::try_from(header_bytes).ok().filter(|&n| n <= MAX_HEADER_BYTES) {
            Some(length) => Ok(LENGTH_BYTES + length),
            None => Err(ContainerError::HeaderTooLong { header_bytes }),
        }
    }

    /// Checks every rule of the format in a file of `file_bytes` bytes. `start` is the start of the file and includes
    /// the header. The rules are the header's length and JSON, each tensor's type, shape and byte range, unique names,
    /// and ranges that cover the data without gap or overlap.
    ///
    /// # Errors
    /// If the header violates a rule of the format. The error is the first violation.
    pub fn parse(start: &'a [u8], file_bytes: usize) -> Result<Self, ContainerError<'a>> {
        let mut header = Self::split(start, file_bytes)?;
        header.metadata = header.check()?;
        Ok(header)
    }

    /// Finds the header in bytes that [`Header::parse`] has accepted, with the metadata that it found.
    #[cfg(feature = "alloc")]
    pub(super) fn parsed_before(file: &'a [u8], metadata: Option<Span>, index: &'a index::Index) -> Self {
        let (text, data_bytes) = match Self::split(file, file.len()) {
            Ok(found) => (found.text, found.data_bytes),
            Err(_) => (&b"{}"[..], 0),
        };
        Self { text, data_bytes, metadata, index: Some(index.slots()) }
    }

    /// Returns an index of the tensors, for [`Header::parsed_before`].
    #[cfg(feature = "alloc")]
    pub(crate) fn index(&self) -> index::Index {
        index::Index::new(self.entries().map(|entry| (entry.name, entry.at)))
    }

    #[cfg(feature = "alloc")]
    pub(super) fn metadata_span(&self) -> Option<Span> {
        self.metadata
    }

    fn split(start: &'a [u8], file_bytes: usize) -> Result<Self, ContainerError<'a>> {
        let end = Self::bytes(start)?;
        match (start.get(LENGTH_BYTES..end), file_bytes.checked_sub(end)) {
            (Some(text), Some(data_bytes)) => Ok(Self { text, data_bytes, metadata: None, index: None }),
            _ => Err(ContainerError::HeaderCut { header_bytes: (end - LENGTH_BYTES) as u64, file_bytes }),
        }
    }

    /// Returns the offset of the tensors' bytes in the file.
    pub(super) fn end(&self) -> usize {
        LENGTH_BYTES + self.text.len()
    }

    fn check(&self) -> Result<Option<Span>, ContainerError<'a>> {
        let mut scan = self.scan().map_err(json)?;
        let mut metadata = None;
        let (mut tensors, mut covered) = (0usize, 0usize);
        // Writers list tensors by name and by offset. In such a file, a single pass proves that names are unique and
        // ranges are disjoint. Other files need a comparison of all pairs.
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
            entry.check(self.data_bytes)?;
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
        if covered != self.data_bytes {
            return Err(ContainerError::NotCovered { tensor_bytes: covered, data_bytes: self.data_bytes });
        }
        Ok(metadata)
    }

    /// Compares all pairs: a batch of tensors with all later ones at a time, so that the header is scanned once per
    /// batch instead of once per tensor.
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
        let (mut entries, mut count) = (Metadata::at(self.text, span.start).map_err(json)?, 0usize);
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

    /// Returns all tensors in the header's order.
    pub fn tensors(&self) -> impl Iterator<Item = Declared<'a>> + Clone + 'a {
        self.entries().map(Entry::declared)
    }

    /// Returns the tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<Declared<'a>> {
        self.named(name).map(Entry::declared)
    }

    /// Returns the text of this key of `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<JsonStr<'a>> {
        self.metadata_entries().find(|(name, _)| *name == *key).map(|(_, value)| value)
    }

    /// Returns all keys and values of `__metadata__` in the header's order.
    pub fn metadata_entries(&self) -> impl Iterator<Item = (JsonStr<'a>, JsonStr<'a>)> + Clone + 'a {
        self.metadata.and_then(|span| Metadata::at(self.text, span.start).ok()).into_iter().flatten()
    }

    pub(super) fn named(&self, name: &str) -> Option<Entry<'a>> {
        let Some(index) = self.index else { return self.entries().find(|entry| entry.name == *name) };
        index::places(index, name).filter_map(|at| self.entry_at(at)).find(|entry| entry.name == *name)
    }

    fn scan(&self) -> Result<Scan<'a>, JsonError> {
        let mut cursor = Cursor::new(self.text);
        let inside = cursor.open(b'{')?;
        Ok(Scan { header: self.text, cursor, inside, metadata: self.metadata })
    }

    /// Returns the tensor whose name is at this offset of the header.
    fn entry_at(&self, at: usize) -> Option<Entry<'a>> {
        let mut cursor = Cursor::starting(self.text, at);
        let name = cursor.key().ok()?;
        entry(&mut cursor, at, name).ok()?.ok()
    }

    pub(super) fn entries(&self) -> Entries<'a> {
        Entries { scan: self.scan().ok() }
    }
}

/// Converts an offset in the header to an offset in the file.
fn json<'a>(error: JsonError) -> ContainerError<'a> {
    ContainerError::Header { at: LENGTH_BYTES + error.at, rule: error.rule }
}

/// A pass over the entries of the header object.
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

/// Reads `{"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}`, with the keys in any order.
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
                    return fail(TensorRule::Malformed { key: "data_offsets" });
                }
                *end = cursor.unsigned()?;
            }
            if cursor.another(&mut list)? {
                return fail(TensorRule::Malformed { key: "data_offsets" });
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
        (None, _, _) => Err(ContainerError::Tensor { name, rule: TensorRule::Malformed { key: "dtype" } }),
        (_, None, _) => Err(ContainerError::Tensor { name, rule: TensorRule::Malformed { key: "shape" } }),
        _ => Err(ContainerError::Tensor { name, rule: TensorRule::Malformed { key: "data_offsets" } }),
    })
}

/// A tensor as declared in the header. `at` is its name's offset in the header, `begin` and `end` are offsets in the
/// data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    #[cfg_attr(not(feature = "alloc"), expect(dead_code, reason = "only the index uses it"))]
    pub(super) at: usize,
    pub(super) name: JsonStr<'a>,
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

    fn declared(self) -> Declared<'a> {
        let Self { name, dtype, shape, .. } = self;
        Declared { name, dtype, shape }
    }

    /// Checks that shape, type and byte range match each other and the data.
    fn check(&self, data_bytes: usize) -> Result<(), ContainerError<'a>> {
        let Self { name, dtype, shape, begin, end, .. } = *self;
        let fail = |rule| Err(ContainerError::Tensor { name, rule });
        let Some(expected) = shape.elements().and_then(|n| n.checked_mul(dtype.bytes())) else {
            return fail(TensorRule::TooLarge);
        };
        let Some(found) = end.checked_sub(begin).filter(|_| end <= data_bytes) else {
            return fail(TensorRule::Range { begin, end, data_bytes });
        };
        if found != expected {
            return fail(TensorRule::Size { expected, found });
        }
        Ok(())
    }

    /// Returns the tensor. The header must have been checked against data of this length.
    pub(super) fn view(&self, data: &'a [u8]) -> Option<TensorView<'a>> {
        let Self { name, dtype, shape, begin, end, .. } = *self;
        Some(TensorView { name, dtype, shape, data: data.get(begin..end)? })
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entries<'a> {
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
