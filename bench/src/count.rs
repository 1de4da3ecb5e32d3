//! What `cargo xtask instructions` counts: one kind of work, done so many times on a
//! runtime of one thread, in a process that valgrind looks at. Not a measurement by
//! itself: a count is the difference between two runs, one of which does it twice as
//! often, so that what a process does before and after is in neither.
//!
//! The client of a server is a task of the same thread: who runs next does not depend
//! on time then. Its instructions are counted with those of the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wapo_host::limits::HOG_PENALTY;
use wapo_host::{Embedder, Engine, EngineConfig, InstanceConfig, Program};
use wapod::{AppConfig, Config, Module, Server};

use crate::embedder::Keeper;
use crate::folder::Folder;
use crate::guests;
use crate::rows::{host_call, instantiation};
use crate::serve::{daemon, native};

/// Slots for instances. Each takes 4 GiB of address space, of which valgrind gives
/// some 60 GiB in all.
const INSTANCES_MAX: u32 = 4;
/// Requests after which all code on their way has run.
const WARM_UP_REQUESTS: u32 = 20;
/// Room for an answer.
const ANSWER_BYTES_MAX: usize = 4096;
/// The end of every answer.
const BODY: &[u8] = b"Hello, World!";

/// Does one kind of work `count` times. Compiled modules are kept in `cache`, because
/// compiling takes a minute where valgrind looks on.
///
/// # Errors
///
/// No such work is known, or it fails.
pub(crate) fn run(what: &str, count: &str, cache: &str) -> Result<()> {
    let count: u32 = count.parse()?;
    let cache = Path::new(cache);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match what {
            "host-call" => guest(&wat::parse_str(host_call::loop_of(count))?, cache).await,
            "poll" => guest(&wat::parse_str(polls(count))?, cache).await,
            "instantiation" => starts(count, cache).await,
            "gateway" => gateway(count, cache).await,
            "native" => beside(count).await,
            "deploy" => deploys(count, cache).await,
            _ => bail!("nothing is counted that is named `{what}`"),
        }
    })
}

/// A guest that is polled so many times and ends. It takes its only task from the queue
/// and puts it back, as a guest does that has more to do.
fn polls(count: u32) -> String {
    let call = |number: u32| {
        format!(
            "(drop (call $call (i32.const 0) (i32.const {number})
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))"
        )
    };
    let (take, put) = (call(NEXT_READY_TASK), call(MARK_TASK_READY));
    format!(
        r#"(module
            (import "wapo" "ocall_fast_return"
                (func $call (param i32 i32 i32 i32 i32 i32) (result i64)))
            (memory (export "memory") 1)
            (global $left (mut i32) (i32.const {count}))
            (func (export "wapo_poll") (result i32)
                {take}
                {put}
                (global.set $left (i32.sub (global.get $left) (i32.const 1)))
                (i32.eqz (global.get $left))))"#
    )
}

/// The host calls of a guest that works on its queue of ready tasks.
const MARK_TASK_READY: u32 = 109;
const NEXT_READY_TASK: u32 = 110;

/// An engine, and a guest's program.
async fn load(wasm: &[u8], cache: &Path) -> Result<(Engine, Program)> {
    let engine = Engine::new(EngineConfig {
        instances_max: INSTANCES_MAX,
        module_cache: Some(wapod::config::module_cache(cache.to_owned())?),
        ..EngineConfig::default()
    })?;
    let program = engine.load(wasm).await?;
    Ok((engine, program))
}

/// Runs a guest to its end.
async fn guest(wasm: &[u8], cache: &Path) -> Result<()> {
    let (engine, program) = load(wasm, cache).await?;
    let embedder: Arc<dyn Embedder> = Arc::new(Keeper::default());
    let handle = engine.start(&program, InstanceConfig::default(), embedder);
    let reason = handle.ended().await;
    ensure!(reason.is_success(), "the guest ended: {reason}");
    Ok(())
}

async fn starts(count: u32, cache: &Path) -> Result<()> {
    let (engine, program) = load(&guests::read("hello-http")?, cache).await?;
    let app = Arc::default();
    for _ in 0..count {
        instantiation::start(&engine, &program, &app, true).await?;
    }
    Ok(())
}

async fn gateway(count: u32, cache: &Path) -> Result<()> {
    let running = Server::start(Config {
        instances_max: INSTANCES_MAX,
        module_cache: Some(wapod::config::module_cache(cache.to_owned())?),
        apps: vec![AppConfig::new(Module::read(&guests::path("gateway"))?)],
        ..Config::default()
    })
    .await?;
    let app = running.apps().first().context("no app")?.address();
    let (address, path) = (running.user_address(), format!("/app/{app}/"));
    // valgrind translates code when it first runs. A step with much of that takes longer
    // than a well-behaved guest's may, so the guest is among the hogs for a while.
    ask(address, &path, WARM_UP_REQUESTS).await?;
    tokio::time::sleep(2 * HOG_PENALTY).await;
    ask(address, &path, WARM_UP_REQUESTS).await?;
    ask(address, &path, count).await?;
    running.shutdown().await;
    Ok(())
}

async fn beside(count: u32) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(native::serve_http(listener));
    ask(address, "/", count).await
}

/// Sends requests over one connection, one after the other.
async fn ask(address: SocketAddr, path: &str, count: u32) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    // As many headers as a browser's request has, roughly; none of them with a port
    // or another number that differs from run to run.
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: text/html\r\n\
         accept-language: en\r\naccept-encoding: gzip, br\r\ncookie: session=0123456789abcdef\r\n\r\n"
    );
    let mut answer = [0; ANSWER_BYTES_MAX];
    for _ in 0..count {
        stream.write_all(request.as_bytes()).await?;
        let mut len = 0;
        while !answer[..len].ends_with(BODY) {
            let more = stream.read(&mut answer[len..]).await?;
            let text = String::from_utf8_lossy(&answer[..len]);
            ensure!(more > 0, "an answer that is cut or too long: {text}");
            len += more;
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "not a success");
    }
    Ok(())
}

async fn deploys(count: u32, cache: &Path) -> Result<()> {
    let folder = Folder::make()?;
    let config = Config {
        instances_max: INSTANCES_MAX,
        module_cache: Some(wapod::config::module_cache(cache.to_owned())?),
        ..daemon::config(&folder)
    };
    let daemon = daemon::Daemon::start_with(config, &guests::path("gateway")).await?;
    daemon.deploys(count as usize).await?;
    daemon.shutdown().await;
    Ok(())
}
