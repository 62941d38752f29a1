//! `gnomon attach`: a loaded program to a point.

use super::link::{LinkArgs, number};
use crate::Status;
use crate::client::{ClientError, Filter, path_name};

/// Attach a loaded program to a point.
///
/// It is attached only if every path on which the point lies keeps its budget and every periodic VM its deadline;
/// otherwise the answer names the path, what is missing, and the largest time bound that would fit (exit status 1).
///
/// Example:
///
///     gnomon attach 0x1 vm_exit
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Handle of the program, as `gnomon load` prints it.
    #[arg(value_parser = number)]
    pub handle: u64,
    /// The point, as in `SEC("probe/<point>")`.
    pub point: String,
    /// See events of this VM only (its number).
    #[arg(long, value_name = "VM")]
    pub vm: Option<u32>,
    /// See events of this vCPU of it only.
    #[arg(long, value_name = "VCPU", requires = "vm")]
    pub vcpu: Option<u32>,
    /// Put it in the place of this attachment, admitted as a difference.
    #[arg(long, value_name = "ATTACHMENT", value_parser = number, conflicts_with = "vm")]
    pub replace: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the system is.
    #[command(flatten)]
    pub link: LinkArgs,
}

/// Runs the verb.
pub fn run(args: Args) -> miette::Result<Status> {
    let mut client = args.link.connect()?;
    let answer = match args.replace {
        Some(attachment) => client.replace(attachment, args.handle),
        None => client.attach(args.handle, &args.point, Filter::new(args.vm, args.vcpu)),
    };
    match answer {
        Ok(attachment) if args.json => println!("{}", serde_json::json!({ "attachment": attachment })),
        Ok(attachment) => println!("{attachment:#x}"),
        Err(error @ ClientError::Refused { .. }) => {
            let (status, x) = error.status().expect("a refusal has a status");
            match args.json {
                true => println!(
                    "{}",
                    serde_json::json!({ "status": format!("{status:?}"), "message": error.to_string(),
                        "path": path_name(x[1]), "shortfall": x[2], "available": x[3] })
                ),
                false => eprintln!("{:?}", miette::Report::new(error)),
            }
            return Ok(Status::Refused);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Status::Ok)
}
