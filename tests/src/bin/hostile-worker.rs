//! `hostile-worker`: what a user could put in the place of their worker. It is started by the daemon as a worker is, and
//! does what the next line of `$HOME/script` says; without a line it becomes the real worker beside it.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, FromRawFd as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kubefwd_proto::channel::{Accepts, Receiver, Sender, channel};
use kubefwd_proto::worker::PROTOCOL;
use kubefwd_proto::worker::v1::{self as wire, FromWorker, ToWorker, from_worker::Frame};

/// Where the daemon puts the channel.
const CHANNEL: i32 = 3;

fn main() -> Result<()> {
    let Some(line) = next_line()? else {
        let own = std::env::current_exe()?;
        let error = Command::new(own.with_file_name("kubefwd-worker"))
            .args(std::env::args_os().skip(1))
            .exec();
        return Err(error).context("cannot become the real worker");
    };
    #[expect(unsafe_code, reason = "an inherited descriptor is known by its number")]
    // SAFETY: the daemon has put its channel there, and nothing else in this process knows of it.
    let socket = unsafe { UnixStream::from_raw_fd(CHANNEL) };
    act(&line, socket)
}

/// Takes a line from the script.
fn next_line() -> Result<Option<String>> {
    let home = std::env::var_os("HOME").context("the daemon gives a HOME")?;
    let path = PathBuf::from(home).join("script");
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let Some((line, rest)) = text.split_once('\n') else {
        return Ok(None);
    };
    std::fs::write(&path, rest)?;
    Ok(Some(line.to_owned()))
}

fn act(line: &str, mut socket: UnixStream) -> Result<()> {
    match line {
        "oversized" => socket.write_all(&[0xff; 64])?,
        "truncated" => return Ok(socket.write_all(&[200, 0, 0, 0, 0, 1, 2, 3])?),
        "garbage" => socket.write_all(&[3, 0, 0, 0, 0, 0xff, 0xff, 0xff])?,
        "silent" => {}
        "dripping" => {
            socket.write_all(&[0, 16, 0, 0, 0])?;
            while socket.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        _ => return speak(line, socket),
    }
    wait_for_the_end(&socket)
}

/// Says what can be said in well-formed frames.
fn speak(line: &str, socket: UnixStream) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut sender, mut receiver): (Sender<FromWorker>, Receiver<ToWorker>) =
            channel(socket, Accepts::Descriptors)?;
        match line {
            "log-first" => send(&mut sender, log("before hello")).await?,
            "protocol" => send(&mut sender, hello(PROTOCOL + 1)).await?,
            "descriptor" => {
                let (ours, _theirs) = UnixStream::pair()?;
                let frame = FromWorker {
                    frame: Some(hello(PROTOCOL)),
                };
                sender.send(&frame, Some(ours.as_fd())).await?;
            }
            "lies" => {
                send(&mut sender, hello(PROTOCOL)).await?;
                for frame in lies() {
                    send(&mut sender, frame).await?;
                }
            }
            "flood" => {
                send(&mut sender, hello(PROTOCOL)).await?;
                let text = "x".repeat(4_000);
                for _ in 0..50_000 {
                    send(&mut sender, log(&text)).await?;
                }
            }
            _ => bail!("no such line: {line}"),
        }
        while let Ok(Some(_)) = receiver.receive().await {}
        Ok(())
    })
}

fn wait_for_the_end(mut socket: &UnixStream) -> Result<()> {
    io::copy(&mut socket, &mut io::sink())?;
    Ok(())
}

async fn send(sender: &mut Sender<FromWorker>, frame: Frame) -> Result<()> {
    let frame = FromWorker { frame: Some(frame) };
    Ok(sender.send(&frame, None).await?)
}

fn hello(protocol: u32) -> Frame {
    Frame::Hello(wire::Hello {
        protocol,
        version: "\u{1b}[31m\n0".to_owned(),
        pid: 1,
    })
}

fn log(message: &str) -> Frame {
    Frame::Log(wire::Log {
        level: wire::LogLevel::Error.into(),
        message: message.to_owned(),
        ..wire::Log::default()
    })
}

/// What is not so, about everything there is to lie about. The last frame is a line in the log.
fn lies() -> Vec<Frame> {
    let context = "sim".to_owned();
    let namespace = "demo".to_owned();
    let huge = "h".repeat(100_000);
    let names = [
        "a\n127.0.0.1 bank",
        "..",
        "localhost",
        "github.com",
        "UPPER",
        "",
        "a b",
        "a\0b",
        "-",
        huge.as_str(),
        "fine",
    ];
    let service = |name: &str| wire::ObservedService {
        name: name.to_owned(),
        headless: name == "fine",
        ports: [0, 80, 80, 65_536, u32::MAX]
            .map(|port| wire::ObservedPort {
                port,
                name: huge.clone(),
                protocol: "TCP".to_owned(),
                target: "\u{202e}\n".to_owned(),
                app_protocol: huge.clone(),
            })
            .into(),
        pods: names.iter().map(|name| (*name).to_owned()).collect(),
        ready_pods: u32::MAX,
        total_pods: 0,
        selected: true,
        ..wire::ObservedService::default()
    };
    let services = |context: &str, namespace: &str, services| {
        Frame::Services(wire::ServicesReport {
            context: context.to_owned(),
            namespace: namespace.to_owned(),
            first: true,
            complete: true,
            services,
            removed: names.iter().map(|name| (*name).to_owned()).collect(),
        })
    };
    let mut frames = vec![hello(PROTOCOL)];
    for name in names {
        frames.push(services(&context, &namespace, vec![service(name)]));
    }
    frames.push(services("other\n", "../..", vec![service("fine")]));
    frames.push(services(
        &context,
        "never-asked-for",
        vec![service("stranger")],
    ));
    for chunk in 0..100 {
        let many = (0..100).map(|n| wire::ObservedService {
            name: format!("many-{chunk}-{n}"),
            ports: vec![wire::ObservedPort {
                port: 80,
                protocol: "TCP".to_owned(),
                ..wire::ObservedPort::default()
            }],
            ready_pods: 1,
            total_pods: 1,
            selected: true,
            ..wire::ObservedService::default()
        });
        frames.push(services(&context, &namespace, many.collect()));
    }
    for listener in [0, 1, 2, 3, u64::MAX] {
        frames.push(Frame::Held(wire::Held {
            listener,
            error: huge.clone(),
        }));
        frames.push(Frame::Forward(wire::ForwardReport {
            listener,
            phase: 99,
            pod: huge.clone(),
            error: "\u{1b}[2J\nforged line".to_owned(),
            pod_port: u32::MAX,
            sequence: u64::MAX,
            ..wire::ForwardReport::default()
        }));
        frames.push(Frame::Traffic(wire::TrafficReport {
            traffic: vec![wire::Traffic {
                listener,
                bytes_in: u64::MAX,
                bytes_out: u64::MAX,
                active: u64::MAX,
                opened: u64::MAX,
                ..wire::Traffic::default()
            }],
        }));
        frames.push(Frame::Answer(wire::Answer {
            id: listener,
            last: true,
            answer: None,
        }));
    }
    frames.push(Frame::Namespace(wire::NamespaceReport {
        context,
        namespace,
        phase: 99,
        notes: vec![huge; 9],
        sequence: u64::MAX,
        ..wire::NamespaceReport::default()
    }));
    frames.push(log("all lies told\n\u{1b}[31mkubefwdd: forged"));
    frames
}
