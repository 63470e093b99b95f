//! Counts the labels of the images in a folder of Parquet files: `cargo run --release --example count_labels -- --help`

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use mbvc_datafusion::{Functions, OnError};
use mbvc_engine::{Bundle, Classifier, Silent};

const HELP: &str = "\
Counts the labels of the images in a folder of Parquet files.

usage: count_labels --model FILE [--image EXPRESSION] [--threads N] [--fail] FOLDER

  --model FILE         model file (.mbvc). It contains machine code, which is run: use only files that you trust
  --image EXPRESSION   SQL expression of the encoded images [default: image]
  --threads N          threads for each of DataFusion's partitions, of which there is one for each core [default: 1]
  --fail               stop at the first image that cannot be decoded; by default its label is null

example: count_labels --model birds.mbvc --image \"image['bytes']\" photos/
";

/// Rows of a batch. The encoded images of a batch are in memory, and a partition is cut into batches.
const BATCH: usize = 64;

struct Arguments {
    model: PathBuf,
    folder: String,
    image: String,
    threads: usize,
    on_error: OnError,
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let counted = match Arguments::parse(words) {
        Ok(arguments) => count(&arguments).await,
        Err(message) => Err(format!("{message}\nhelp: count_labels --help").into()),
    };
    match counted {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn parse(words: Vec<String>) -> Result<Self, String> {
        let (mut model, mut folder) = (None, None);
        let (mut image, mut threads, mut on_error) = ("image".to_owned(), 1, OnError::Null);
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("expected a value after {word}"));
            match &*word {
                "--model" => model = Some(PathBuf::from(value()?)),
                "--image" => image = value()?,
                "--threads" => {
                    let value = value()?;
                    threads = value.parse().map_err(|_| format!("expected a number of threads, found {value}"))?;
                }
                "--fail" => on_error = OnError::Fail,
                option if option.starts_with('-') => return Err(format!("unknown option {option}")),
                _ if folder.is_none() => folder = Some(word),
                _ => return Err(format!("expected one folder, found {word} too")),
            }
        }
        let model = model.ok_or("expected a model file: --model FILE")?;
        let folder = folder.ok_or("expected a folder of Parquet files")?;
        Ok(Self { model, folder, image, threads, on_error })
    }
}

async fn count(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let bundle = Bundle::open(&arguments.model)?;
    // SAFETY: the machine code in the file is trusted: whoever passes `--model` vouches for it, as `--help` says.
    let network = unsafe { bundle.network(None, &Silent) }?;
    let classifier = Classifier::new(network, &bundle.weights);

    let context = SessionContext::new_with_config(SessionConfig::new().with_batch_size(BATCH));
    let functions = Functions::new(classifier).threads(arguments.threads).on_error(arguments.on_error);
    functions.register(&context);

    let folder = &arguments.folder;
    std::fs::metadata(folder).map_err(|cause| format!("cannot read {folder}: {cause}"))?;
    context.register_parquet("photos", folder, ParquetReadOptions::default()).await?;
    let labels = format!("select classify({})['label'] as label from photos", arguments.image);
    let sql = format!("select label, count(*) as images from ({labels}) group by label order by images desc, label");
    context.sql(&sql).await?.show().await?;
    Ok(())
}
