//! Reports of work that takes seconds.

/// Receives reports of long work.
pub trait Progress {
    /// Work begins; `what` describes it, such as `compiling MobileNetV2 224x224`.
    fn begin(&self, what: &str);

    /// The work that was reported last has ended, whether it succeeded or failed.
    fn end(&self);
}

/// Discards all reports.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str) {}

    fn end(&self) {}
}

/// Reports the end of work when it is dropped.
pub(crate) struct Report<'a>(&'a dyn Progress);

impl<'a> Report<'a> {
    /// Reports the beginning.
    pub(crate) fn begin(progress: &'a dyn Progress, what: &str) -> Self {
        progress.begin(what);
        Self(progress)
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
