//! `mbvc evaluate`: how often a network is right.

use std::path::PathBuf;

use mbvc::weights::Preprocess;
use mbvc::{Network, Unobserved, Weights, top_k};

use crate::error::{CliError, Result};
use crate::measure::Caller;
use crate::options::{NetworkArgs, examples};
use crate::stream::{self, Pictures, Seen};
use crate::ui::plural;
use crate::{engine, ui};

mod folders;
mod report;
mod tally;

use folders::Folder;
use tally::{GUESSES, Tally};

/// Tell how often a network is right about photographs that are sorted into folders
///
/// DIR has a folder for each class, called as the class is in the weights or by its number from 0; the images in it, and
/// in folders within it, show that class. Classes may be absent. Images are read as by `classify`. Told are the share of images
/// whose class comes first and among the first five, the classes that go wrong most often, and what they are taken for. An image
/// that cannot be read is reported and left out, and the command fails at the end.
#[derive(clap::Args)]
#[command(after_help = examples!(
    "mbvc evaluate photos/ --weights weights.safetensors",
    "mbvc evaluate photos/ --weights model.safetensors --spec model.yaml --json > result.json",
    "mbvc evaluate photos/ --weights int8.safetensors --spec model.yaml --precision int8",
))]
pub struct Args {
    /// Folder with a folder of images for each class
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Weights, as `mbvc import` and `mbvc quantize` write them
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// How many of the classes that go wrong to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
    /// One line of JSON, with every class and all that it was taken for
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

pub fn run(args: &Args) -> Result {
    let weights = engine::weights(args.weights.as_deref())?;
    let source = engine::source(args.network.spec.spec.as_deref(), args.network.spec.overrides_for(Some(&weights)))?;
    // Before a network is compiled: what is sorted otherwise needs none.
    let labels = weights.labels().unwrap_or_default();
    let folders = folders::find(&args.folder, &labels, weights.conventions().classes)?;
    let network = engine::network(&source, &args.network, &weights)?;
    let (tally, seen) = evaluate(&*network, &weights, &folders)?;
    if seen.images > 0 {
        report::Report::new(&source.spec.name, &*network, &labels, &folders, &tally, seen).show(args);
    }
    match seen {
        Seen { skipped: 0, .. } => Ok(()),
        Seen { images, skipped } => {
            Err(CliError::new(format!("{} of {} could not be read", plural(skipped, "image"), images + skipped)))
        }
    }
}

/// Shows the network every image of the folders.
fn evaluate(network: &dyn Network, weights: &Weights, folders: &[Folder]) -> Result<(Tally, Seen)> {
    let [height, width, _] = network.info().input;
    let (framing, preprocess) = (weights.framing(), weights.preprocessing());
    let total: usize = folders.iter().map(|folder| folder.images.len()).sum();
    let bar = ui::progress(total, "evaluating");
    let mut tally = Tally::default();
    let mut seen = Seen::default();
    for (class, folder) in folders.iter().enumerate() {
        bar.set_message(folder.name.clone());
        let pictures = Pictures { paths: &folder.images, framing, size: [height, width], crops: 0 };
        let work = |pixels: &[u8]| Ok(guesses(network, &preprocess, pixels));
        let of_class = stream::each(&pictures, &bar, work, |guesses| tally.count(class, folder, &guesses))?;
        seen.images += of_class.images;
        seen.skipped += of_class.skipped;
    }
    bar.finish_and_clear();
    Ok((tally, seen))
}

/// The first classes that the network names, best first.
fn guesses(network: &dyn Network, preprocess: &Preprocess, pixels: &[u8]) -> Vec<usize> {
    let mut caller = Caller::new(network.info());
    caller.show(pixels, preprocess);
    caller.call(network, &mut Unobserved);
    let mut best = [(0, 0.0); GUESSES];
    let count = top_k(&caller.logits, &mut best);
    best.iter().take(count).map(|(index, _)| *index).collect()
}
