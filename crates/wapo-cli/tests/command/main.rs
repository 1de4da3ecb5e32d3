//! The command `wapo` as its users meet it: one program of tests, because each would
//! link the whole command and the daemon again.

mod bills;
mod changes;
mod cli;
mod dishonest;
mod javascript;
mod javascript_cases;
mod javascript_conformance;
mod javascript_examples;
mod javascript_isolates;
mod javascript_limits;
mod javascript_packages;
mod javascript_tools;
mod javascript_types;
mod javascript_websocket_clients;
mod javascript_websockets;
mod logs;
mod support;
mod verify;
mod verify_live;
mod worker;
