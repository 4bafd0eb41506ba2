//! Real servers on loopback, from a shell.

fn main() -> anyhow::Result<()> {
    for engine in [handfast_stack::KAFKA, handfast_stack::CASSANDRA] {
        println!("{} is in {}", engine.title, engine.fetch()?.display());
    }
    Ok(())
}
