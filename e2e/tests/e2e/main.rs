//! End-to-end tests: real daemon, real guests, real clients.
//!
//! One binary, because linking costs more than running. A module is what a
//! user or an operator would look for; the harness is the library of this
//! package.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acme;
mod admission;
mod app_secrets;
mod attestation;
mod bad_input;
mod billing;
mod bills;
mod budgets;
mod calls;
mod compat;
mod compiling;
mod domains;
mod durable;
mod egress;
mod egress_changes;
mod examples;
mod exchange;
mod figures;
mod gateway;
mod grpc;
mod guard;
mod handles;
mod host_time;
mod http;
mod javascript_engines;
mod javascript_network;
mod kept;
mod leaving;
mod lifecycle;
mod lifecycle_apps;
mod lifecycle_names;
mod lifecycle_slots;
mod limits;
mod listening;
mod logs;
mod metering;
mod noise;
mod policy;
mod port_ranges;
mod programs;
mod proxies;
mod proxy_protocol;
mod query;
mod quotas;
mod reactor;
mod replacing;
mod rpc_failures;
mod rpc_http;
mod rpc_methods;
mod scheduling;
mod sdk;
mod secrets;
mod sni;
mod sni_apps;
mod sni_certificates;
mod sni_clients;
mod sni_protocols;
mod statements;
mod storage;
mod strangers;
mod tcp;
mod tls;
mod tls_client;
mod udp;
mod udp_floods;
mod udp_policy;
mod udp_sharing;
mod udp_spoofing;
mod visits;
mod wakers;
