//! `mbvc evaluate`: measures the accuracy of a network.

use std::path::{Path, PathBuf};

use mbvc_engine::{Caller, Classifier, best, parallel};

use crate::error::{CliError, Result};
use crate::options::{NetworkArgs, examples};
use crate::stream::Seen;
use crate::ui::plural;
use crate::{engine, ui};

mod folders;
mod report;
mod tally;

use folders::Folder;
use tally::{GUESSES, Tally};

/// Measure the accuracy on images sorted into one folder per class
///
/// DIR contains one folder per class. Its name is the label of the class, one word of a comma-separated label, the number
/// of the class, counted from 0, or its WordNet id (n02123045) if the labels are those of ImageNet. All images below that
/// folder belong to the class. Classes may be missing. Images are read as by `classify`. The report shows top-1 and top-5
/// accuracy, and the classes with the lowest accuracy with their most frequent wrong predictions. An image that cannot be read
/// is reported and skipped, and the command then exits with status 1.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc evaluate photos/ --weights weights.safetensors",
    "mbvc evaluate photos/ --weights model.safetensors --spec model.yaml --json > result.json",
    "mbvc evaluate photos/ --weights int8.safetensors --spec model.yaml --precision int8",
))]
pub struct Args {
    /// Folder that contains a folder of images for each class
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Weights file, written by `mbvc import` or `mbvc quantize`
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Number of classes to show, those with the lowest accuracy first
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
    /// Print one line of JSON with all classes and wrong predictions
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

pub fn run(args: &Args) -> Result {
    let weights = engine::weights(args.weights.as_deref())?;
    let source = engine::source(args.network.spec.spec.as_deref(), args.network.spec.overrides_for(Some(&weights)))?;
    // Before the network is compiled, which takes longer.
    let labels = weights.labels().unwrap_or_default();
    let folders = folders::find(&args.folder, &labels, weights.classes())?;
    let classifier = engine::classifier(&source, &args.network, &weights)?;
    let (tally, seen) = evaluate(&classifier, &folders)?;
    if seen.images > 0 {
        report::Report::new(&source.spec.name, &*classifier.network, &labels, &folders, &tally, seen).show(args);
    }
    match seen {
        Seen { skipped: 0, .. } => Ok(()),
        Seen { images, skipped } => {
            Err(CliError::new(format!("{} of {} could not be read", plural(skipped, "image"), images + skipped)))
        }
    }
}

/// Runs the network on every image of the folders.
fn evaluate(classifier: &Classifier, folders: &[Folder]) -> Result<(Tally, Seen)> {
    let images: Vec<(usize, &Path)> = folders
        .iter()
        .enumerate()
        .flat_map(|(class, folder)| folder.images.iter().map(move |path| (class, path.as_path())))
        .collect();
    let bar = ui::progress(images.len(), "evaluating");
    let mut tally = Tally::default();
    let mut seen = Seen::default();
    let work = |caller: &mut Caller, (_, path): &(usize, &Path)| -> Result<_> {
        let pixels = mbvc_pictures::load(path, classifier.framing, classifier.input())?;
        Ok(guesses(classifier, caller, &pixels))
    };
    let threads = parallel::threads(images.len());
    parallel::in_order(
        &images,
        threads,
        || classifier.caller(),
        work,
        |(class, _), guesses| {
            let folder = &folders[*class];
            bar.set_message(folder.name.clone());
            match guesses {
                Ok(guesses) => {
                    seen.images += 1;
                    tally.count(*class, folder, &guesses);
                }
                Err(cause) => {
                    seen.skipped += 1;
                    bar.suspend(|| cause.print());
                }
            }
            bar.inc(1);
            Ok::<_, CliError>(())
        },
    )??;
    bar.finish_and_clear();
    Ok((tally, seen))
}

/// The classes with the highest scores, best first.
fn guesses(classifier: &Classifier, caller: &mut Caller, pixels: &[u8]) -> Vec<usize> {
    best(&classifier.scores(caller, pixels), GUESSES).into_iter().map(|(index, _)| index).collect()
}
