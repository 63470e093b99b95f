//! Comparison of weights with a spec.

use mbvc_compiler::Compiled;
use mbvc_compiler::spec::NetworkSpec;
use mbvc_runtime::{Conventions, Header, Listing, Mismatch, Remedy};

use crate::container::Container;
use crate::error::{ErrorKind, ImportError, Result};

impl Container {
    /// Compares conventions and all tensors with those of `spec`, as the runtime does when it binds weights. A weights
    /// file contains neither strides nor residuals.
    ///
    /// # Errors
    /// If the weights lack a convention.
    pub fn mismatches(&self, spec: &NetworkSpec) -> Result<Vec<Mismatch>> {
        let network = Compiled::without_programs(spec)
            .map_err(|broken| ImportError::malformed(broken.to_string()).help("please report this, with the spec"))?;
        let parameters = network.parameters();
        let needs = network.needs(&parameters);
        let (start, bytes) = self.header();
        let header = Header::parse(&start, bytes).map_err(|error| ImportError::malformed(error.to_string()))?;
        let conventions = Conventions::of(&header).map_err(|error| ImportError::malformed(error.to_string()))?;
        Ok(needs.mismatches(conventions, &header))
    }

    /// Checks that conventions and tensors are those of `spec`.
    ///
    /// # Errors
    /// If [`mismatches`](Self::mismatches) is not empty. The message lists the first differences.
    pub fn check_against(&self, spec: &NetworkSpec) -> Result<()> {
        check(&self.mismatches(spec)?)
    }
}

/// Returns an error if there are differences.
pub fn check(mismatches: &[Mismatch]) -> Result<()> {
    if mismatches.is_empty() {
        return Ok(());
    }
    let problem = format!("the weights do not fit the spec:{}", Listing(mismatches));
    Err(ImportError::new(ErrorKind::Mismatch, problem).help(Remedy(mismatches).to_string()))
}
