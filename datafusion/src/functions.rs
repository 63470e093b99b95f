//! Registers the functions.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use mbvc_engine::Classifier;

use crate::classify::Classify;
use crate::embed::Embed;
use crate::model::Model;
use crate::options::{OnError, Options};

/// The functions `classify` and `embed` of a classifier.
pub struct Functions {
    classifier: Arc<Classifier>,
    options: Options,
    prefix: String,
}

impl Functions {
    /// Creates functions that run on one thread for each partition and return null for images that cannot be decoded.
    pub fn new(classifier: impl Into<Arc<Classifier>>) -> Self {
        Self { classifier: classifier.into(), options: Options::default(), prefix: String::new() }
    }

    /// Sets what the functions do with an image that cannot be decoded.
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.options.on_error = on_error;
        self
    }

    /// Sets the number of threads that share a batch; 0 means 1. DataFusion runs several partitions at the same time, and each
    /// uses this many threads.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = threads.max(1);
        self
    }

    /// Sets whether large JPEG images are decoded at a quarter or an eighth of their size, which is faster and changes the
    /// scores slightly.
    #[must_use]
    pub fn fast_decode(mut self, fast_decode: bool) -> Self {
        self.options.fast_decode = fast_decode;
        self
    }

    /// Sets a prefix of the function names, so that several networks can be registered: `birds_` results in `birds_classify`
    /// and `birds_embed`. Use lower case: SQL folds unquoted names to lower case.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Returns `classify` and `embed`. They share their buffers.
    pub fn udfs(&self) -> [ScalarUDF; 2] {
        let model = Arc::new(Model::new(self.classifier.clone(), self.options));
        let name = |name| format!("{}{name}", self.prefix);
        [Classify::new(name("classify"), model.clone()).into(), Embed::new(name("embed"), model).into()]
    }

    /// Registers `classify` and `embed`, and replaces functions with these names.
    pub fn register(&self, context: &SessionContext) {
        for udf in self.udfs() {
            context.register_udf(udf);
        }
    }
}
