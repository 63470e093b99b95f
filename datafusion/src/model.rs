//! What the functions share: a classifier, options, and buffers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use mbvc_engine::parallel::in_order;
use mbvc_engine::{Caller, Callers, Classifier, Lease};
use mbvc_pictures::{Photo, Target};

use crate::memo::Memo;
use crate::options::{OnError, Options};

/// A classifier with options and buffers. Models are equal if they are the same object, so that DataFusion
/// computes equal calls once.
pub struct Model {
    pub classifier: Arc<Classifier>,
    options: Options,
    callers: Callers,
    /// Results of `classify`.
    pub memo: Memo,
}

/// An image of a batch.
struct Row<'a> {
    number: usize,
    /// Bytes of a file; `None` for a null.
    image: Option<&'a [u8]>,
}

impl Model {
    pub fn new(classifier: Arc<Classifier>, options: Options) -> Self {
        Self { classifier, options, callers: Callers::default(), memo: Memo::default() }
    }

    /// Computes a value from the pixels of each image and passes it to `take`, in the order of the images: `None` for a null,
    /// and for an image that cannot be decoded if errors give nulls.
    ///
    /// # Errors
    /// If an image cannot be decoded and errors end the query, or a thread cannot be started. The message names `function`.
    pub fn map<T: Send>(
        &self,
        function: &str,
        images: &[Option<&[u8]>],
        compute: impl Fn(&Classifier, &mut Caller, &[u8]) -> T + Sync,
        mut take: impl FnMut(Option<T>),
    ) -> Result<()> {
        let rows: Vec<Row> = images.iter().enumerate().map(|(number, &image)| Row { number, image }).collect();
        let start = || self.callers.lease();
        let work = |lease: &mut Lease, row: &Row| -> Result<Option<T>> {
            let Some(image) = row.image else { return Ok(None) };
            match self.pixels(image, row.number) {
                Ok(pixels) => {
                    let caller = lease.caller(|| self.classifier.caller());
                    Ok(Some(compute(&self.classifier, caller, &pixels)))
                }
                Err(_) if self.options.on_error == OnError::Null => Ok(None),
                Err(cause) => Err(failed(function, rows.len(), &cause)),
            }
        };
        let threads = self.options.threads.min(rows.len());
        if threads <= 1 {
            // On the thread of the partition.
            let mut lease = start();
            return rows.iter().try_for_each(|row| work(&mut lease, row).map(&mut take));
        }
        in_order(&rows, threads, start, work, |_, value| value.map(&mut take))
            .map_err(|cause| DataFusionError::Execution(format!("{function}: {cause}")))?
    }

    /// Decodes an image and frames it: the bytes of the network's input.
    fn pixels(&self, image: &[u8], row: usize) -> Result<Vec<u8>, mbvc_pictures::Error> {
        let (framing, input) = (self.classifier.framing, self.classifier.input());
        let name = format!("the image in row {row}");
        let name = Path::new(&name);
        let photo = match self.options.fast_decode {
            true => Photo::from_bytes_reduced(image, name, Target { framing, input }),
            false => Photo::from_bytes(image, name),
        };
        Ok(photo?.frame(framing, input))
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = self.classifier.network.info().name;
        f.debug_struct("Model").field("network", &network).field("options", &self.options).finish_non_exhaustive()
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

impl Eq for Model {}

impl Hash for Model {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::from_ref(self).hash(state);
    }
}

/// Returns the error of a query. It names the row of the batch; which file or table the batch comes from is not known here.
fn failed(function: &str, rows: usize, cause: &mbvc_pictures::Error) -> DataFusionError {
    let help = cause.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    DataFusionError::Execution(format!(
        "{function}: {cause}\nnote: rows are counted from 0 in their batch of {rows} rows{help}\nhelp: `OnError::Null` returns null for such \
         images"
    ))
}
