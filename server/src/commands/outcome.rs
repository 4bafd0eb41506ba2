//! `handfast outcome`.

use handfast_client::Locator;

use super::{connect, render};
use crate::cli::{Global, OutcomeArgs};
use crate::exit::{Failure, of_outcome};
use crate::output;

/// Asks for an outcome and prints it.
pub(crate) async fn run(global: &Global, args: OutcomeArgs) -> Result<(), Failure> {
    let client = connect(global).await?;
    let locator = Locator { namespace: args.namespace, id: args.id, home_shard: args.home };
    let outcome = match args.wait {
        Some(wait) => client.wait_for(&locator, wait.into(), global.timeout).await?,
        None if args.fence => client.fence(&locator).await?,
        None => client.outcome(&locator).await?,
    };
    output::one(global, render::outcome(&outcome))?;
    match of_outcome(&outcome) {
        // Barring it was what was asked for.
        Err(failure) if args.fence && failure.code == crate::exit::CONFLICT => Ok(()),
        other => other,
    }
}
