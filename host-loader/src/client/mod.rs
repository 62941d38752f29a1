//! A running system, through its monitor guest: the library behind `load`, `attach`, `read`, `detach`, `report`, and the
//! demo.
//!
//! The monitor adds nothing of its own: each request is a hypercall it makes ([`hyp_abi::link`]), and what it may do is
//! what the manifest grants its VM.

mod error;
pub mod image;
mod link;
mod maps;
mod session;

pub use error::{ClientError, path_name};
pub use link::{Answer, Buffers, Client};
pub use maps::{Entry, MapHandle, text};
pub use session::{Filter, Loaded, Session};
