//! Datasets of numbers: data layout (FF IV.A.2.i) and the B-tree of chunks (FF III.A.1).

use std::borrow::Cow;

use super::cursor::{Address, Cursor};
use super::datatype::{Datatype, shape};
use super::file::File;
use super::fill::filled;
use super::filter::{self, Filter};
use super::header::{Object, kind};
use crate::error::{ImportError, Result};
use crate::source::DType;
use crate::text::{display_shape, elements};

const MAX_DEPTH: usize = 16;

/// Numbers in row-major order.
#[derive(Debug)]
pub struct Dataset<'a> {
    pub shape: Vec<usize>,
    pub dtype: DType,
    /// Little-endian.
    pub bytes: Cow<'a, [u8]>,
}

/// Properties common to a dataset's chunks.
struct Chunks {
    shape: Vec<usize>,
    /// Shape of a chunk, with the rank of `shape`.
    chunk: Vec<usize>,
    element: usize,
    filters: Vec<Filter>,
}

impl<'a> File<'a> {
    /// # Errors
    /// If `object` is not a dataset of numbers, or its data is damaged or has an unsupported layout.
    pub fn dataset(&self, object: &Object<'a>) -> Result<Dataset<'a>> {
        let missing = || ImportError::malformed("the object is not a complete dataset");
        let shape = shape(object.message(kind::DATASPACE)?.ok_or_else(missing)?)?;
        let datatype = Datatype::read(object.message(kind::DATATYPE)?.ok_or_else(missing)?)?;
        let Datatype::Number(dtype) = datatype else {
            return Err(ImportError::unsupported(format!("unsupported element type {datatype:?}"))
                .expected("little-endian floats or integers"));
        };
        let size = elements(&shape)?.checked_mul(dtype.size()).ok_or_else(missing)?;
        let mut layout = object.message(kind::LAYOUT)?.ok_or_else(missing)?;
        let version = layout.u8()?;
        let class = layout.u8()?;
        let bytes = match (version, class) {
            (3 | 4, 0) => {
                let stored = layout.size(2)?;
                Cow::Borrowed(exactly(layout.take(stored)?, size)?)
            }
            (3 | 4, 1) => match (layout.offset()?, layout.length()?) {
                (_, _) if size == 0 => Cow::Borrowed(&[][..]),
                (Some(address), stored) if stored >= size => Cow::Borrowed(self.at(address)?.take(size)?),
                (Some(_), stored) => return Err(wrong_size(size, stored)),
                (None, _) => return Err(ImportError::malformed("the dataset was never written")),
            },
            (3, 2) => {
                let filters = object.message(kind::FILTERS)?.map(filter::pipeline).transpose()?.unwrap_or_default();
                let tree;
                let chunks;
                (tree, chunks) = Chunks::read(&mut layout, shape.clone(), dtype.size(), filters)?;
                self.charge(size)?;
                let mut bytes = filled(size, self.fill_value(object, dtype.size())?);
                if let Some(tree) = tree {
                    self.chunks(tree, &chunks, MAX_DEPTH, &mut bytes)?;
                }
                Cow::Owned(bytes)
            }
            _ => {
                return Err(ImportError::unsupported(format!(
                    "unsupported data layout: version {version}, class {class}"
                ))
                .expected("compact or contiguous data, or chunks in a version 1 B-tree")
                .help("save the model again with Keras itself"));
            }
        };
        Ok(Dataset { shape, dtype, bytes })
    }

    fn chunks(&self, address: Address, chunks: &Chunks, depth: usize, bytes: &mut [u8]) -> Result<()> {
        self.step()?;
        let mut node = self.at(address)?;
        node.expect(b"TREE\x01", "a node of a tree of chunks")?;
        let level = node.u8()?;
        let count = node.u16()?;
        node.offset()?;
        node.offset()?;
        let deeper = depth.checked_sub(1).ok_or_else(|| ImportError::malformed("the B-tree of chunks is too deep"))?;
        for _ in 0..count {
            self.step()?;
            let (stored, mask) = (node.size(4)?, node.u32()?);
            let origin = chunks.shape.iter().map(|_| node.size(8)).collect::<Result<Vec<_>>>()?;
            // The offset within an element.
            node.skip(8)?;
            let child = node.address("a chunk")?;
            if level > 0 {
                self.chunks(child, chunks, deeper, bytes)?;
                continue;
            }
            let size = chunks.size()?;
            self.charge(size.saturating_add(stored))?;
            let chunk = filter::undo(&chunks.filters, mask, self.at(child)?.take(stored)?, size, chunks.element)?;
            chunks.place(&chunk, &origin, bytes)?;
        }
        Ok(())
    }
}

impl Chunks {
    /// Reads the rest of a layout message. The address of the tree is `None` if no chunk was written.
    fn read(
        layout: &mut Cursor<'_>,
        shape: Vec<usize>,
        element: usize,
        filters: Vec<Filter>,
    ) -> Result<(Option<Address>, Self)> {
        // The last dimension is the bytes of an element.
        let rank = usize::from(layout.u8()?);
        let tree = layout.offset()?;
        if rank != shape.len() + 1 || shape.is_empty() {
            return Err(ImportError::malformed("the chunks and the dataset differ in rank"));
        }
        let chunk = shape.iter().map(|_| layout.size(4)).collect::<Result<Vec<_>>>()?;
        if chunk.contains(&0) {
            return Err(ImportError::malformed(format!("invalid chunk shape {}", display_shape(&chunk))));
        }
        Ok((tree, Self { shape, chunk, element, filters }))
    }

    /// Returns the bytes of a whole chunk.
    fn size(&self) -> Result<usize> {
        let size = elements(&self.chunk)?.checked_mul(self.element);
        size.ok_or_else(|| ImportError::malformed(format!("invalid chunk shape {}", display_shape(&self.chunk))))
    }

    /// Copies the part of the chunk at `origin` that is within the dataset.
    fn place(&self, content: &[u8], origin: &[usize], bytes: &mut [u8]) -> Result<()> {
        let outside = || ImportError::malformed("a chunk is outside its dataset");
        let &columns = self.chunk.last().ok_or_else(outside)?;
        // A run extends along the last dimension.
        let run = columns.checked_mul(self.element).ok_or_else(outside)?;
        for (row, content) in content.chunks_exact(run).enumerate() {
            let Some((start, count)) = self.run(row, origin).ok_or_else(outside)? else { continue };
            let from = content.get(..count).ok_or_else(outside)?;
            let to = start.checked_add(count).and_then(|end| bytes.get_mut(start..end)).ok_or_else(outside)?;
            to.copy_from_slice(from);
        }
        Ok(())
    }

    /// Returns the start of the chunk's run `row` in the dataset and its bytes within the dataset; `Some(None)` for a run
    /// outside the dataset, `None` for a chunk that starts outside.
    fn run(&self, mut row: usize, origin: &[usize]) -> Option<Option<(usize, usize)>> {
        let (&width, &first) = (self.shape.last()?, origin.last()?);
        let columns = width.checked_sub(first)?.min(*self.chunk.last()?);
        let mut start = first;
        let mut stride = width;
        let outer = self.shape.iter().zip(&self.chunk).zip(origin).rev().skip(1);
        for ((&size, &chunk), &origin) in outer {
            let index = origin.checked_add(row % chunk)?;
            row /= chunk;
            if origin >= size {
                return None;
            }
            if index >= size {
                return Some(None);
            }
            start = start.checked_add(index.checked_mul(stride)?)?;
            stride = stride.checked_mul(size)?;
        }
        Some(Some((start.checked_mul(self.element)?, columns.checked_mul(self.element)?)))
    }
}

fn wrong_size(size: usize, stored: usize) -> Box<ImportError> {
    ImportError::malformed("the data does not match the dataset's shape")
        .expected(format!("{size} bytes"))
        .found(format!("{stored} bytes"))
}

fn exactly(bytes: &[u8], size: usize) -> Result<&[u8]> {
    if bytes.len() == size { Ok(bytes) } else { Err(wrong_size(size, bytes.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_at_the_edge_are_cut() {
        let chunks = Chunks { shape: vec![3, 5], chunk: vec![2, 4], element: 1, filters: vec![] };
        let mut bytes = [0; 15];
        chunks.place(&[1; 8], &[0, 0], &mut bytes).unwrap();
        chunks.place(&[2; 8], &[0, 4], &mut bytes).unwrap();
        chunks.place(&[3; 8], &[2, 0], &mut bytes).unwrap();
        chunks.place(&[4; 8], &[2, 4], &mut bytes).unwrap();
        assert_eq!(bytes, [1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4]);
        assert!(chunks.place(&[5; 8], &[3, 0], &mut bytes).is_err());
        assert!(chunks.place(&[5; 8], &[0, 6], &mut bytes).is_err());
    }
}
