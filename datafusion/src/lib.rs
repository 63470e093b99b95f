//! Scalar functions of DataFusion that classify and embed pictures with a MobileNetV2 network.
//!
//! ```text
//! classify(image)     struct {label: Utf8, score: Float32, index: Int32}    the class with the largest score
//! classify(image, k)  list of these structs, largest score first            the k classes with the largest scores
//! embed(image)        fixed-size list of Float32                            the pooled vector
//! ```
//!
//! `image` is a column of type Binary, LargeBinary or BinaryView with the bytes of JPEG, PNG, BMP or WebP files. `k` is an
//! integer literal of at least 1; the list is shorter if the network has fewer classes. A null image gives a null result. An
//! image that cannot be decoded gives a null result, too, or ends the query: [`OnError`]. `label` is null if the weights have
//! no labels.
//!
//! ```no_run
//! # async fn example(classifier: mbvc_engine::Classifier) -> datafusion::error::Result<()> {
//! let context = datafusion::prelude::SessionContext::new();
//! let functions = mbvc_datafusion::Functions::new(classifier);
//! functions.register(&context);
//! # Ok(()) }
//! ```
//!
//! A batch is the work of one partition, and DataFusion runs as many partitions at the same time as the processor has cores
//! (`datafusion.execution.target_partitions`). Two settings depend on the data:
//!
//! - `datafusion.execution.batch_size`, by default 8192 rows, should be about 64: the encoded images of a batch are in memory,
//!   a query is canceled between batches, and DataFusion distributes only inputs of more than one batch to other partitions.
//! - [`Functions::threads`] divides a batch among threads, for queries with fewer partitions than cores, such as those of one
//!   Parquet file with few row groups.
//!
//! Equal calls of `classify` run the network once per image, even if a query reads several fields of the result:
//!
//! ```sql
//! select classify(image)['label'], classify(image)['score'] from photos
//! select c['label'], c['score'] from (select classify(image) as c from photos) where c['score'] > 0.5
//! ```
//!
//! A filter creates a smaller batch, on which DataFusion evaluates other calls, such as `embed`, again. `select e from (select embed(image) as e
//! from photos) where e[1] > 0.5` runs the network a second time on the images that it selects. `create table vectors as select
//! embed(image) as e from photos` and a query of that table run it once. The same is required for several fields of `classify` if
//! the functions are called through `datafusion-ffi`, as from Python: every call then gets a new array.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod arguments;
mod classify;
mod embed;
mod functions;
mod guesses;
mod memo;
mod model;
mod options;

pub use functions::Functions;
pub use options::OnError;
