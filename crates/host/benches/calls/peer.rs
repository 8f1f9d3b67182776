//! The other side: plain Wasmtime, with the guests composed by `wac`'s library or each by itself, and a proxy call in this process.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId, plug};
use wasmtime::component::{Component, Func, Instance, InstancePre, Linker, ResourceAny, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::apart;

/// As far away as it gets: nothing is interrupted, but code that can be is.
const NO_DEADLINE: u64 = u64::MAX / 2;
/// What a stack keeps for the next call; the most that Berth's pool keeps.
const STACK_KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// How the engine is set.
#[derive(Clone, Copy)]
pub struct Settings {
    /// Code can be interrupted, and stacks are zeroed before they are used again.
    careful: bool,
}

impl Settings {
    /// What the host sets for its engine of WASI 0.2, as far as it touches calls.
    pub const LIKE_BERTH: Settings = Settings { careful: true };
    /// The same without what only a host of strangers needs.
    pub const BARE: Settings = Settings { careful: false };

    fn engine(self) -> Engine {
        let mut pool = PoolingAllocationConfig::new();
        pool.async_stack_keep_resident(STACK_KEEP_RESIDENT_BYTES).max_memory_size(4 << 30);
        let mut config = Config::new();
        config.wasm_component_model(true).memory_init_cow(true).concurrency_support(false);
        config.epoch_interruption(self.careful).async_stack_zeroing(self.careful);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Engine::new(&config).unwrap()
    }
}

/// What a store holds.
pub struct Holdings {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoWayOut,
    /// The functions of the back, where calls to them go over the host.
    pub back: Vec<Func>,
    /// The back's resources that the front has, by what they are represented with there.
    pub held: Vec<ResourceAny>,
}

impl WasiView for Holdings {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Holdings {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// What a request of the guest comes to: none of the calls needs one.
struct NoWayOut;

type Sent = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for NoWayOut {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

/// Guests on plain Wasmtime.
pub struct Peer {
    engine: Engine,
    front: ProxyPre<Holdings>,
    /// Where it is by itself, and the names of its functions.
    back: Option<(InstancePre<Holdings>, Vec<String>)>,
    careful: bool,
}

impl Peer {
    /// The guests in one component.
    pub fn composed(settings: Settings) -> Peer {
        let engine = settings.engine();
        let component = Component::from_binary(&engine, &composition()).unwrap();
        let front = ProxyPre::new(linker(&engine).instantiate_pre(&component).unwrap()).unwrap();
        Peer { engine, front, back: None, careful: settings.careful }
    }

    /// The front and the back each by itself, in one store: a host could hardly put them closer.
    pub fn apart(settings: Settings) -> Peer {
        let engine = settings.engine();
        let [front, back] = ["link-front", "link-back"].map(|guest| Component::from_binary(&engine, &bytes(guest)).unwrap());
        let mut linker = linker(&engine);
        let back = linker.instantiate_pre(&back).unwrap();
        let names = apart::link(&mut linker, &front);
        apart::refuse(&mut linker, &front);
        let front = ProxyPre::new(linker.instantiate_pre(&front).unwrap()).unwrap();
        Peer { engine, front, back: Some((back, names)), careful: settings.careful }
    }

    /// What the front answers, in instances of its own.
    pub async fn ask(&self, path: &str) -> String {
        let holdings = Holdings {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            hooks: NoWayOut,
            back: Vec::new(),
            held: Vec::new(),
        };
        let mut store = Store::new(&self.engine, holdings);
        if self.careful {
            store.set_epoch_deadline(NO_DEADLINE);
        }
        if let Some((back, names)) = &self.back {
            let back = back.instantiate_async(&mut store).await.unwrap();
            let functions = names.iter().map(|name| function(&mut store, &back, name)).collect();
            store.data_mut().back = functions;
        }
        let proxy = self.front.instantiate_async(&mut store).await.unwrap();
        let request = Request::get(format!("http://localhost{path}")).body(Empty::<Bytes>::new()).unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut http = store.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request).unwrap();
        let out = http.new_response_outparam(sender).unwrap();
        let handle = proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out);
        let answer = async {
            let (head, body) = receiver.await.unwrap().unwrap().into_parts();
            (head.status, body.collect().await.unwrap().to_bytes())
        };
        let (handled, (status, body)) = tokio::join!(handle, answer);
        handled.unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        String::from_utf8(body.to_vec()).unwrap()
    }
}

fn function(store: &mut Store<Holdings>, instance: &Instance, name: &str) -> Func {
    let interface = instance.get_export_index(&mut *store, None, apart::INTERFACE).unwrap();
    let function = instance.get_export_index(&mut *store, Some(&interface), name).unwrap();
    instance.get_func(store, function).unwrap()
}

fn linker(engine: &Engine) -> Linker<Holdings> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
    linker
}

fn bytes(guest: &str) -> Vec<u8> {
    berth_testkit::guests::bytes(guest)
}

/// The three guests as `wac plug` composes them: the front's imports from the others' exports, and the middle's from a back of its own.
fn composition() -> Vec<u8> {
    let middle = plugged(bytes("link-middle"), &[bytes("link-back")]);
    plugged(bytes("link-front"), &[bytes("link-back"), middle])
}

fn plugged(socket: Vec<u8>, plugs: &[Vec<u8>]) -> Vec<u8> {
    let mut graph = CompositionGraph::new();
    let mut register = |name: String, bytes: Vec<u8>| -> PackageId {
        let package = Package::from_bytes(&name, None, bytes, graph.types_mut()).unwrap();
        graph.register_package(package).unwrap()
    };
    let socket = register("bench:socket".to_owned(), socket);
    let plugs = plugs.iter().enumerate().map(|(at, bytes)| register(format!("bench:plug{at}"), bytes.clone())).collect();
    plug(&mut graph, plugs, socket).unwrap();
    graph.encode(EncodeOptions::default()).unwrap()
}
