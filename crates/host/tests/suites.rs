//! The suites of the seams `Host` and `Probe`, on the real machine.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod server;

use std::net::{TcpListener, UdpSocket};

use async_trait::async_trait;
use clos_domain::port::Protocol;
use clos_domain::seams::{Host, Probe};
use clos_host::{HttpProbe, Machine};
use clos_testkit::host_suite::{Behaviour, HostWorld, ProbeWorld};
use server::Server;

#[derive(Default)]
struct RealHost {
    machine: Machine,
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

#[async_trait]
impl HostWorld for RealHost {
    fn host(&self) -> &dyn Host {
        &self.machine
    }

    async fn listen(&mut self, ip: &str, protocol: Protocol) -> u16 {
        if protocol == Protocol::Udp {
            let socket = UdpSocket::bind((ip, 0)).unwrap();
            let port = socket.local_addr().unwrap().port();
            self.udp.push(socket);
            return port;
        }
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        self.tcp.push(listener);
        port
    }

    async fn leave(&mut self, port: u16) {
        self.tcp.retain(|listener| listener.local_addr().unwrap().port() != port);
    }

    fn foreign_address(&self) -> String {
        "192.0.2.1".to_owned()
    }
}

clos_testkit::host_suite!(RealHost::default());

#[derive(Default)]
struct RealProbe {
    servers: Vec<Server>,
    absent: Vec<tokio::net::TcpSocket>,
}

#[async_trait]
impl ProbeWorld for RealProbe {
    fn probe(&self) -> &dyn Probe {
        &HttpProbe
    }

    async fn serve(&mut self, behaviour: Behaviour) -> u16 {
        let server = match behaviour {
            Behaviour::Status(status) => Server::answering(format!(
                "HTTP/1.1 {status} Fine\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
            )),
            Behaviour::Silent => Server::silent(),
            Behaviour::ClosesAtOnce => Server::closing(),
            Behaviour::Absent => {
                let (socket, port) = server::nobody();
                self.absent.push(socket);
                return port;
            }
        };
        let port = server.port();
        self.servers.push(server);
        port
    }
}

clos_testkit::probe_suite!(RealProbe::default());
