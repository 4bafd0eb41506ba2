//! Writes a history of a correct store to stdout.
//!
//! ```text
//! cargo run --release -p handfast-checker --example generate -- 1000000 append edn > history.edn
//! cargo run --release -p handfast-checker --example generate -- 1000000 register jsonl no-ts > history.jsonl
//! ```

use std::io::{BufWriter, Write as _};
use std::process::ExitCode;

use handfast_checker::{Format, Model, generate, write};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut shape = generate::Shape::default();
    let mut format = Format::Edn;
    for word in words {
        match word {
            "append" => shape.model = Model::Append,
            "register" => shape.model = Model::Register,
            "edn" => format = Format::Edn,
            "jsonl" => format = Format::JsonLines,
            "no-ts" => shape.timestamps = false,
            number => match number.parse() {
                Ok(operations) => shape.operations = operations,
                Err(_) => {
                    eprintln!(
                        "error: unknown word {word:?}; usage: generate OPERATIONS [append|register] \
                         [edn|jsonl] [no-ts]"
                    );
                    return ExitCode::from(2);
                }
            },
        }
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = generate::Generator::new(shape)
        .try_for_each(|event| write(&mut out, format, &event))
        .and_then(|()| out.flush());
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write to stdout: {error}");
            ExitCode::FAILURE
        }
    }
}
