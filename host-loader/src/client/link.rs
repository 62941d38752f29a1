//! Frames to a monitor: one request, one answer, in order. The monitor is a guest behind a socket, or, where this command runs
//! inside a Linux VM, the kernel's `/dev/gnomon`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hyp_abi::link::{
    ANSWER, BODY_MAX, Header, HelloReply, HvcReply, HvcRequest, LinkError, LoadReply, MAGIC, NO_BUFFER, Verb,
};
use hyp_abi::{ABI_VERSION, Call, Status};

use super::ClientError;

/// A verification in a guest under emulation takes seconds at worst.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a socket that is not there yet is looked for.
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// One look for the greeting's answer: the guest may still be booting, and what it was sent before is lost.
const HELLO_TIMEOUT: Duration = Duration::from_millis(500);

/// Pause before a call that another CPU was in the way of is made again.
const AGAIN_EVERY: Duration = Duration::from_millis(2);
/// Such pauses before the refusal is shown: seconds, where moments are expected.
const AGAIN_MAX: u32 = 1000;

/// How frames travel.
#[derive(Debug)]
enum Transport {
    /// The monitor's virtio-console, as QEMU shows it on the host.
    Socket(UnixStream),
    /// The device of the kernel module, inside a VM: one write is one request, and its answer is there when the write returns.
    Device(File),
}

impl Transport {
    fn open(path: &Path) -> io::Result<Transport> {
        if std::fs::metadata(path)?.file_type().is_char_device() {
            let device = OpenOptions::new().read(true).write(true).open(path)?;
            return Ok(Transport::Device(device));
        }
        UnixStream::connect(path).map(Transport::Socket)
    }

    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Transport::Socket(socket) => socket.set_read_timeout(Some(timeout)),
            Transport::Device(_) => Ok(()),
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Socket(socket) => socket.read(buffer),
            Transport::Device(device) => device.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Socket(socket) => socket.write(bytes),
            Transport::Device(device) => device.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection to a monitor.
#[derive(Debug)]
pub struct Client {
    stream: Transport,
    seq: u16,
    hello: HelloReply,
}

/// What a hypercall needs besides its registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Buffers<'b> {
    /// Input bytes and the register that gets their address.
    pub input: Option<(u8, &'b [u8])>,
    /// Where in the input a second argument lies, and its register.
    pub second: Option<(u8, u32)>,
    /// Bytes of output wanted and the register that gets their address.
    pub output: Option<(u8, u32)>,
}

/// What a hypercall gave.
#[derive(Clone, Debug)]
pub struct Answer {
    /// x0 to x7.
    pub x: [u64; 8],
    /// The output buffer, whole.
    pub output: Vec<u8>,
}

impl Client {
    /// Connects to the socket or device at `path`, waiting up to `patience` for the monitor to be up.
    pub fn connect(path: &Path, patience: Duration) -> Result<Client, ClientError> {
        let give_up = Instant::now() + patience;
        let stream = loop {
            match Transport::open(path) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= give_up => {
                    return Err(ClientError::Connect {
                        path: path.display().to_string(),
                        error,
                    });
                }
                Err(_) => std::thread::sleep(RETRY_EVERY),
            }
        };
        let mut client = Client {
            stream,
            seq: 0,
            hello: HelloReply::default(),
        };
        client.greet(give_up)?;
        if client.hello.abi != ABI_VERSION {
            return Err(ClientError::Version {
                theirs: client.hello.abi,
                ours: ABI_VERSION,
            });
        }
        client.stream.set_read_timeout(ANSWER_TIMEOUT)?;
        Ok(client)
    }

    /// Greets until the monitor answers or time is over.
    fn greet(&mut self, give_up: Instant) -> Result<(), ClientError> {
        self.stream.set_read_timeout(HELLO_TIMEOUT)?;
        loop {
            match self.request(Verb::Hello, &[]) {
                Ok(body) => {
                    let hello = HelloReply::read(&body);
                    self.hello = hello.ok_or_else(|| ClientError::Protocol("the greeting is too short".into()))?;
                    return Ok(());
                }
                Err(ClientError::Io(e)) if timed_out(&e) && Instant::now() < give_up => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Who answers: ABI version, VM, rights.
    pub fn hello(&self) -> HelloReply {
        self.hello
    }

    /// Sends a frame and waits for its answer; answers to earlier requests are dropped.
    fn request(&mut self, verb: Verb, body: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.seq = self.seq.wrapping_add(1);
        let header = Header {
            magic: MAGIC,
            len: body.len() as u32,
            verb: verb as u16,
            seq: self.seq,
            error: 0,
        };
        let mut frame = vec![0; Header::SIZE];
        header.write(&mut frame);
        frame.extend_from_slice(body);
        self.stream.write_all(&frame)?;
        loop {
            let (header, body) = self.answer()?;
            if header.seq != self.seq {
                continue;
            }
            if header.verb != verb as u16 | ANSWER {
                return Err(ClientError::Protocol(format!(
                    "verb {:#x} answers {:#x}",
                    header.verb, verb as u16
                )));
            }
            let why = match LinkError::from_number(header.error) {
                Some(LinkError::None) => return Ok(body),
                Some(LinkError::UnknownVerb) => "it does not know the request".into(),
                Some(LinkError::MalformedBody) => "it finds the request malformed".into(),
                Some(LinkError::TooBig) => "it finds the request too big".into(),
                None => format!("error {}", header.error),
            };
            return Err(ClientError::Protocol(why));
        }
    }

    /// Reads one frame. Bytes before the next magic are not ours (a guest that was reset mid-frame) and are skipped.
    fn answer(&mut self) -> Result<(Header, Vec<u8>), ClientError> {
        let mut head = [0; Header::SIZE];
        self.stream.read_exact(&mut head)?;
        while head[..4] != MAGIC.to_le_bytes() {
            head.copy_within(1.., 0);
            self.stream.read_exact(&mut head[Header::SIZE - 1..])?;
        }
        let header = Header::read(&head).ok_or_else(|| ClientError::Protocol("no header".into()))?;
        if header.len as usize > BODY_MAX {
            return Err(ClientError::Protocol(format!("a body of {} bytes", header.len)));
        }
        let mut body = vec![0; header.len as usize];
        self.stream.read_exact(&mut body)?;
        Ok((header, body))
    }

    /// Makes a hypercall, again and again while another CPU is in the way; a negative status is not an error here.
    pub fn hvc(&mut self, call: Call, args: &[u64], buffers: Buffers<'_>) -> Result<Answer, ClientError> {
        let mut x = [0; 7];
        x[..args.len()].copy_from_slice(args);
        let (in_reg, input) = buffers.input.unwrap_or((NO_BUFFER, &[]));
        let (in2_reg, in2_offset) = buffers.second.unwrap_or((NO_BUFFER, 0));
        let (out_reg, out_len) = buffers.output.unwrap_or((NO_BUFFER, 0));
        let request = HvcRequest {
            call: call as u16,
            in_reg,
            out_reg,
            in2_reg,
            pad: [0; 3],
            in2_offset,
            out_len,
            x,
        };
        let mut body = vec![0; HvcRequest::SIZE];
        request.write(&mut body);
        body.extend_from_slice(input);
        for _ in 0..AGAIN_MAX {
            let answer = self.hvc_once(&body)?;
            if answer.x[0] != Status::Again.x0() {
                return Ok(answer);
            }
            std::thread::sleep(AGAIN_EVERY);
        }
        self.hvc_once(&body)
    }

    fn hvc_once(&mut self, body: &[u8]) -> Result<Answer, ClientError> {
        let mut answer = self.request(Verb::Hvc, body)?;
        let reply = HvcReply::read(&answer).ok_or_else(|| ClientError::Protocol("a short reply".into()))?;
        Ok(Answer {
            x: reply.x,
            output: answer.split_off(HvcReply::SIZE),
        })
    }

    /// Makes a hypercall that must succeed.
    pub fn call(&mut self, call: Call, args: &[u64], buffers: Buffers<'_>) -> Result<Answer, ClientError> {
        let answer = self.hvc(call, args, buffers)?;
        must_be_ok(call, answer.x)?;
        Ok(answer)
    }

    /// Loads a program image: staged, verified by steps, compiled.
    pub fn load(&mut self, image: &[u8]) -> Result<LoadReply, ClientError> {
        let body = self.request(Verb::Load, image)?;
        LoadReply::read(&body).ok_or_else(|| ClientError::Protocol("a short reply".into()))
    }

    /// Asks the monitor to stop its VM.
    pub fn quit(&mut self) -> Result<(), ClientError> {
        self.request(Verb::Quit, &[]).map(drop)
    }
}

/// The status in x0, as an error unless it is `Ok`.
pub fn must_be_ok(call: Call, x: [u64; 8]) -> Result<(), ClientError> {
    match Status::from_x0(x[0]) {
        Some(Status::Ok) => Ok(()),
        Some(status) => Err(ClientError::Refused { call, status, x }),
        None => Err(ClientError::Protocol(format!("{}: status {:#x}", call.name(), x[0]))),
    }
}

fn timed_out(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
