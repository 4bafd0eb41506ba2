//! The command line of `handfast write`.

use std::path::PathBuf;

use clap::Args;
use handfast_client::Uuid;

use super::DueArgs;

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Whoever subscribes is told of it, and each target that is named gets it. With --id the command is safe to
repeat: the message is written once.
A message that must commit together with rows goes into the `messages` of a batch for `handfast submit`.

Examples:
  echo '{\"order\": 7}' | handfast write --namespace bank --key order-7 --content-type application/json
  handfast write --namespace bank picture.png --header kind=picture --id $ID
  echo 'pay!' | handfast write --namespace bank --to mail --after 3d --jitter 10m")]
pub(crate) struct WriteArgs {
    /// The message's payload; - is stdin
    #[arg(default_value = "-", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The namespace
    #[arg(short, long, env = "HANDFAST_NAMESPACE")]
    pub(crate) namespace: String,
    /// Messages of one key keep their order
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// What the payload is, such as application/json
    #[arg(long)]
    pub(crate) content_type: Option<String>,
    /// A header; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,
    /// A target that it is delivered to; may be given again
    #[arg(long, value_name = "TARGET")]
    pub(crate) to: Vec<String>,
    /// The message's id, a UUID of version 7 [default: a new one]
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<Uuid>,
    #[command(flatten)]
    pub(crate) due: DueArgs,
}

/// A name and a value.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
