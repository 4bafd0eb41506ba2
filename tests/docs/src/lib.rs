//! What the tests of the documentation share: the repository's files, the blocks and tables of a page,
//! and a server to try them on.

mod files;
mod page;
mod server;

pub use files::{folder_of, read, root, rust_files, without_tests};
pub use page::Page;
pub use server::{Server, program};
