//! Programs, C libraries, web packages and projects for microcontrollers that contain a network and its weights.
//!
//! The sources in `carried/`, the generated code and the weights file are compiled against the runtime of the cache.
//! The result contains no path of this machine, so that it is the same on every machine.

mod c;
mod embedded;
mod names;
mod native;
mod source_crate;
mod template;
mod web;

use std::path::PathBuf;

use mbvc_compiler::Compiled;
use mbvc_runtime::Weights;

use crate::error::Result;
use crate::file::NewFile;
use crate::rustc::Compiler;
pub use embedded::{FLASH_BYTES as EMBEDDED_FLASH_BYTES, TARGET as EMBEDDED_TARGET, isas as embedded_isas};
pub use names::{Kind, Names};
pub use web::isas as web_isas;

/// An artifact to be built.
pub struct Artifact<'a> {
    /// Program, library, package or project.
    pub kind: Kind,
    /// Names of the output.
    pub names: Names,
    /// The network.
    pub compiled: &'a Compiled,
    /// Text of the spec that it was compiled from.
    pub spec: &'a str,
    /// Weights that fit it.
    pub weights: &'a Weights,
    /// Whether to add an example in C to a library.
    pub example: bool,
    /// Whether the modules of a package contain the weights.
    pub embed: bool,
}

/// A built artifact in memory. Nothing is written before all of it is complete.
pub struct Built {
    /// The binary and, of a library, the header and the example; or all files of a package or project.
    pub files: Vec<NewFile>,
    /// Command that compiles a C program with the library, in its folder.
    pub compile: Option<String>,
}

impl Artifact<'_> {
    /// Returns the paths of the files that are known before the build.
    ///
    /// # Errors
    /// If the target does not support the kind.
    pub fn outputs(&self, compiler: &Compiler) -> Result<Vec<PathBuf>> {
        match self.kind {
            Kind::Web => return Ok(web::outputs(self)),
            Kind::Embedded => return Ok(embedded::outputs(&self.names)),
            Kind::Program | Kind::Static | Kind::Shared => {}
        }
        let mut outputs = vec![self.names.binary(self.kind, compiler)?];
        if self.kind.is_library() {
            outputs.push(self.names.header());
        }
        if self.example {
            outputs.push(self.names.example());
        }
        Ok(outputs)
    }

    /// Compiles the artifact.
    ///
    /// # Errors
    /// If it cannot be compiled or linked, or its weights cannot be packed.
    pub fn build(&self, compiler: &Compiler) -> Result<Built> {
        match self.kind {
            Kind::Program | Kind::Static | Kind::Shared => native::build(self, compiler),
            Kind::Web => web::build(self, compiler),
            Kind::Embedded => embedded::build(self, compiler.target()),
        }
    }
}
