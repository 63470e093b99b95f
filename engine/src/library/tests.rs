//! A network that is compiled by `rustc` and loaded, compared with the same network compiled into this test.

use std::cell::RefCell;
use std::fs;

use mbvc_compiler::diagnostic::SourceFile;
use mbvc_compiler::spec::{Fusion, Overrides};
use mbvc_runtime::{Isa, Network, Observer};

use super::Library;
use crate::cache::Cache;
use crate::carried::{self, Generated};
use crate::progress::{Progress, Silent};
use crate::source::Source;

/// Records reports.
#[derive(Default)]
struct Reports(RefCell<Vec<String>>);

impl Progress for Reports {
    fn begin(&self, what: &str) {
        self.0.borrow_mut().push(what.to_owned());
    }

    fn end(&self) {
        self.0.borrow_mut().push("end".to_owned());
    }
}

/// Every step with its output.
#[derive(Default, PartialEq, Debug)]
struct Steps(Vec<(usize, Vec<u32>)>);

impl Observer for Steps {
    fn step(&mut self, step: usize, output: &[f32]) {
        self.0.push((step, output.iter().map(|value| value.to_bits()).collect()));
    }
}

fn run(network: &dyn Network) -> (Vec<f32>, Steps) {
    let info = network.info();
    let image: Vec<f32> =
        (0..info.input.iter().product()).map(|at: usize| (at * at % 251) as f32 / 125.0 - 1.0).collect();
    let (mut scratch, mut logits) = (vec![0.0; info.scratch_bytes / 4], vec![f32::NAN; info.classes]);
    let mut steps = Steps::default();
    network.run_into(&mut scratch, &image, &mut logits, &mut steps).unwrap();
    assert!(network.run_into(&mut scratch[1..], &image, &mut logits, &mut Steps::default()).is_err());
    (logits, steps)
}

#[test]
fn a_compiled_network_is_cached_and_computes_what_an_included_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(&folder.path().join("cache"));
    let file = SourceFile::new("tiny.yaml", include_str!("../../../specs/tiny.yaml"));
    let source = Source::new(file, Overrides::none()).unwrap();
    let compiled = source.compile(Fusion::Block, &[Isa::Portable]).unwrap();
    let weights = mbvc_runtime::Weights::from_static(carried::weights::bytes()).unwrap();

    let reports = Reports::default();
    let library = Library::open_in(&cache, &compiled, "tiny", &reports).unwrap();
    assert_eq!(*reports.0.borrow(), ["compiling tiny for this machine (once)", "end"]);
    let model = library.build(&weights, None).unwrap();
    let included = Generated::with_isa(&weights, Isa::Portable).unwrap();
    assert_eq!(run(&model), run(&included));
    assert_eq!((model.isa(), model.info().steps.len()), (Isa::Portable, Generated::INFO.steps.len()));
    assert!(library.build(&weights, Some(Isa::Avx2)).is_err(), "it is compiled for another instruction set");

    let path = fs::read_dir(folder.path().join("cache")).unwrap().map(|entry| entry.unwrap().path());
    let path = path.into_iter().find(|path| path.to_string_lossy().ends_with(std::env::consts::DLL_SUFFIX)).unwrap();
    let reports = Reports::default();
    Library::open_in(&cache, &compiled, "tiny", &reports).unwrap();
    assert!(reports.0.borrow().is_empty(), "it is in the cache");
    let whole = fs::read(&path).unwrap();
    for damaged in [&whole[..100], &whole[..whole.len() / 2]] {
        // A new file: the process has loaded the other one.
        fs::remove_file(&path).unwrap();
        fs::write(&path, damaged).unwrap();
        Library::open_in(&cache, &compiled, "tiny", &Silent).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), whole.len() as u64, "compiled again");
    }
}
