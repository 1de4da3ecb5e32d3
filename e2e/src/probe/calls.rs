//! One method per host call: its number, how it travels, how its arguments lie.

use parity_scale_codec::{Compact, Decode as _, Encode as _};

use super::{Errno, Fast, Output, Probe, SCRATCH, Script, Slow};

/// Certificate and key as they travel; a `None` is a plain listener.
pub type TlsIdentity<'a> = Option<(&'a str, &'a str)>;

fn tls_config((cert, key): (&str, &str)) -> Vec<u8> {
    [vec![0], cert.encode(), key.encode()].concat()
}

/// Encoded options of a listener: nothing chosen, small writes sent at once.
const NO_OPTIONS: [u8; 5] = [0, 0, 1, 0, 0];

impl Probe {
    /// 101
    pub async fn close(&self, handle: u32) -> Fast {
        self.fast(101, [handle, 0, 0, 0]).await
    }

    /// 102; the message without the length that it is wrapped in.
    pub async fn poll(&self, handle: u32) -> Slow {
        let message = self.wait_slow(102, [handle, 0, 0]).await?;
        Ok(unpack(&message))
    }

    /// 103, with what was read.
    pub async fn poll_read(&self, handle: u32, len: u32) -> Slow {
        let count = self.wait(103, [handle, SCRATCH, len]).await?;
        Ok(self.read(SCRATCH, count).await)
    }

    /// 103 on a timer.
    pub async fn poll_timer(&self, handle: u32) -> Fast {
        self.wait(103, [handle, 1, 0]).await
    }

    /// 104, once, in the name of a new waker.
    pub async fn poll_write(&self, handle: u32, data: &[u8]) -> Fast {
        loop {
            let waker = self.new_waker();
            let result = self.fast_with(104, &[waker, handle], data).await;
            self.count_waker(waker, result);
            if result != Err(Errno::Pending) {
                return result;
            }
            self.until_woken(waker).await;
        }
    }

    /// 105
    pub async fn poll_shutdown(&self, handle: u32) -> Fast {
        self.wait(105, [handle, 0, 0]).await
    }

    /// 106
    pub async fn poll_res(&self, handle: u32) -> Fast {
        self.wait(106, [handle, 0, 0]).await
    }

    /// 109
    pub async fn mark_task_ready(&self, task: u32) -> Fast {
        self.fast(109, [task, 0, 0, 0]).await
    }

    /// 110
    pub async fn next_ready_task(&self) -> Fast {
        self.fast(110, [0; 4]).await
    }

    /// 111
    pub async fn enable_ocall_trace(&self, enable: u32) -> Fast {
        self.fast(111, [enable, 0, 0, 0]).await
    }

    /// 112
    pub async fn awake_wakers(&self) -> Result<Vec<i32>, Errno> {
        let answer = self.slow(112, [0; 4]).await?;
        Ok(Vec::decode(&mut answer.as_slice()).expect("a list"))
    }

    /// 113, with the random bytes.
    pub async fn getrandom(&self, len: u32) -> Slow {
        let script = Script::new().fast(113, [SCRATCH, len, 0, 0]);
        let mut output = self.run(&script.read(SCRATCH, len)).await;
        output.result()?;
        Ok(output.bytes(len as usize))
    }

    /// 201
    pub async fn create_timer(&self, millis: i32) -> Fast {
        self.fast(201, [millis.cast_unsigned(), 0, 0, 0]).await
    }

    /// 202
    pub async fn oneshot_send(&self, handle: u32, data: &[u8]) -> Fast {
        self.fast_with(202, &[handle], data).await
    }

    /// 203
    pub async fn reset_timer(&self, handle: u32, millis: i32) -> Fast {
        self.fast(203, [handle, millis.cast_unsigned(), 0, 0]).await
    }

    /// 204
    pub async fn oneshot_send_error(&self, handle: u32, text: &[u8]) -> Fast {
        self.fast_with(204, &[handle], text).await
    }

    /// 210
    pub async fn tcp_listen(&self, address: &str, tls: TlsIdentity<'_>) -> Fast {
        let mut input = address.encode();
        match tls {
            None => input.push(0),
            Some(identity) => {
                input.push(1);
                input.extend(tls_config(identity));
            }
        }
        self.fast_with(210, &[], &input).await
    }

    /// 211
    pub async fn tcp_accept(&self, listener: u32) -> Result<(u32, String), Errno> {
        let answer = self.wait_slow(211, [listener, 0, 0]).await?;
        let (handle, peer): (i32, String) =
            parity_scale_codec::DecodeAll::decode_all(&mut answer.as_slice())
                .expect("a handle and an address");
        Ok((handle.cast_unsigned(), peer))
    }

    /// 212
    pub async fn tcp_accept_no_addr(&self, listener: u32) -> Fast {
        self.wait(212, [listener, 0, 0]).await
    }

    /// 213
    pub async fn tcp_connect(&self, host: &str, port: u32) -> Fast {
        let len = u32::try_from(host.len()).expect("short");
        let script = Script::new().write(SCRATCH, host.as_bytes());
        let script = script.fast(213, [SCRATCH, len, port, 0]);
        self.run(&script).await.result()
    }

    /// 214
    pub async fn tcp_connect_tls(&self, host: &str, port: u16) -> Fast {
        let input = [host.encode(), port.encode(), vec![0]].concat();
        self.fast_with(214, &[], &input).await
    }

    /// 317, with encoded options
    pub async fn tcp_connect_tls_with(&self, host: &str, port: u16, options: &[u8]) -> Fast {
        let input = [&host.encode()[..], &port.encode(), options].concat();
        self.fast_with(317, &[], &input).await
    }

    /// 322, with encoded options
    pub async fn stream_start_tls(&self, stream: u32, name: &str, options: &[u8]) -> Fast {
        let input = [&stream.encode()[..], &name.encode(), options].concat();
        self.fast_with(322, &[], &input).await
    }

    /// 323; the stream's own address and that of its peer.
    pub async fn stream_addrs(&self, handle: u32) -> Result<(String, String), Errno> {
        let answer = self.slow(323, [handle, 0, 0, 0]).await?;
        Ok(
            parity_scale_codec::DecodeAll::decode_all(&mut answer.as_slice())
                .expect("two addresses"),
        )
    }

    /// 215
    pub async fn tls_listen_sni(&self, name: &str, identity: (&str, &str)) -> Fast {
        let input = [name.encode(), tls_config(identity)].concat();
        self.fast_with(215, &[], &input).await
    }

    /// 307; without an identity the guest speaks TLS by itself.
    pub async fn sni_listen(
        &self,
        name: &str,
        identity: Option<(&str, &str)>,
        protocols: &[&[u8]],
    ) -> Fast {
        let identity = match identity {
            None => vec![0],
            Some(identity) => [vec![1], tls_config(identity)].concat(),
        };
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|one| one.to_vec()).collect();
        let input = [name.encode(), vec![0], identity, protocols.encode()].concat();
        self.fast_with(307, &[], &input).await
    }

    /// 308; the server's name and the protocol.
    pub async fn stream_tls(
        &self,
        handle: u32,
    ) -> Result<(Option<String>, Option<Vec<u8>>), Errno> {
        let answer = self.slow(308, [handle, 0, 0, 0]).await?;
        Ok(
            parity_scale_codec::DecodeAll::decode_all(&mut answer.as_slice())
                .expect("a name and a protocol"),
        )
    }

    /// 306; the kind and the text.
    pub async fn net_failure(&self, handle: u32) -> Result<(u8, String), Errno> {
        let answer = self.slow(306, [handle, 0, 0, 0]).await?;
        Ok(
            parity_scale_codec::DecodeAll::decode_all(&mut answer.as_slice())
                .expect("a kind and a text"),
        )
    }

    /// 220
    pub async fn log(&self, level: u32, text: &[u8]) -> Fast {
        self.fast_with(220, &[level], text).await
    }

    /// 240
    pub async fn create_input_channel(&self, kind: u32) -> Fast {
        let answer = self.slow(240, [kind, 0, 0, 0]).await?;
        Ok(u32::from_le_bytes(answer.try_into().expect("a handle")))
    }

    /// 242
    pub async fn app_address(&self) -> Slow {
        self.slow(242, [0; 4]).await
    }

    /// 243
    pub async fn emit_program_output(&self, data: &[u8]) -> Fast {
        self.fast_with(243, &[], data).await
    }

    /// 244
    pub async fn blob_get(&self, name: &[u8]) -> Slow {
        let answer = self.slow_with(244, &[], name).await?;
        Ok(unpack(&answer))
    }

    /// 250
    pub async fn sign(&self, data: &[u8]) -> Slow {
        let answer = self.slow_with(250, &[], data).await?;
        Ok(unpack(&answer))
    }

    /// 251
    pub async fn worker_pubkey(&self) -> Slow {
        self.slow(251, [0; 4]).await
    }

    /// 252; the encoded option.
    pub async fn sgx_quote(&self, data: &[u8]) -> Slow {
        self.slow_with(252, &[], data).await
    }

    /// 324
    pub async fn make_evidence(&self, nonce: &[u8]) -> Fast {
        self.fast_with(324, &[], nonce).await
    }

    /// 325; the evidence without the length that it is wrapped in.
    pub async fn take_evidence(&self, handle: u32) -> Slow {
        let evidence = self.wait_slow(325, [handle, 0, 0]).await?;
        Ok(unpack(&evidence))
    }

    /// 326, with the options that are no choice.
    pub async fn tcp_listen_attested(&self, addr: &str, names: &[&str]) -> Fast {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let input = [addr.encode(), names.encode(), NO_OPTIONS.to_vec()].concat();
        self.fast_with(326, &[], &input).await
    }

    /// 327
    pub async fn sni_listen_attested(&self, name: &str, protocols: &[&[u8]]) -> Fast {
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|one| one.to_vec()).collect();
        let input = [name.encode(), protocols.encode()].concat();
        self.fast_with(327, &[], &input).await
    }

    /// 253
    pub async fn tip(&self, amount: u64) -> Fast {
        let high = u32::try_from(amount >> 32).expect("32 bits");
        let low = u32::try_from(amount & 0xffff_ffff).expect("32 bits");
        self.fast(253, [high, low, 0, 0]).await
    }

    /// 254; 80 bytes: gas, number of the reading, session, nonce.
    pub async fn app_gas_consumed(&self) -> Slow {
        self.slow(254, [0; 4]).await
    }

    /// 255
    pub async fn derive_secret(&self, path: &[u8]) -> Slow {
        self.slow_with(255, &[], path).await
    }

    /// 260
    pub async fn read_boot_data(&self) -> Result<Option<Vec<u8>>, Errno> {
        let answer = self.slow(260, [0; 4]).await?;
        Ok(Option::decode(&mut answer.as_slice()).expect("an option"))
    }

    /// 261
    pub async fn write_boot_data(&self, data: &[u8]) -> Slow {
        self.slow_with(261, &[], data).await
    }

    /// 262
    pub async fn app_try_lock(&self, name: &[u8]) -> Fast {
        self.fast_with(262, &[], name).await
    }

    /// 263
    pub async fn app_unlock(&self, name: &[u8]) -> Fast {
        self.fast_with(263, &[], name).await
    }

    /// 300, with the events that the guest's own loop had not taken.
    pub async fn next_events(&self, buffer_bytes: u32) -> Slow {
        let script = Script::new().fast(300, [SCRATCH, buffer_bytes, 0, 0]);
        let mut output: Output = self.run(&script.read(SCRATCH, buffer_bytes)).await;
        let written = output.result()?;
        Ok(output.bytes(written as usize))
    }

    /// 301
    pub async fn poll_flush(&self, handle: u32) -> Fast {
        self.wait(301, [handle, 0, 0]).await
    }

    /// Writes all bytes to a stream, in as many calls as it takes.
    ///
    /// # Panics
    ///
    /// When the stream fails.
    pub async fn write_all(&self, handle: u32, mut data: &[u8]) {
        while !data.is_empty() {
            let part = &data[..data.len().min(super::TRANSFER_BYTES_MAX as usize)];
            let written = self.poll_write(handle, part).await.expect("writes");
            data = &data[written as usize..];
        }
    }

    /// Reads exactly so many bytes from a stream.
    ///
    /// # Panics
    ///
    /// When the stream fails or ends before.
    pub async fn read_exact(&self, handle: u32, len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            let want = u32::try_from(len - all.len()).expect("fits");
            let want = want.min(super::TRANSFER_BYTES_MAX);
            let part = self.poll_read(handle, want).await.expect("reads");
            assert!(
                !part.is_empty(),
                "the stream ended after {} bytes",
                all.len()
            );
            all.extend(part);
        }
        all
    }
}

/// Takes bytes out of the length that they are wrapped in.
///
/// # Panics
///
/// When the length is not that of the rest.
pub fn unpack(wrapped: &[u8]) -> Vec<u8> {
    let mut rest = wrapped;
    let len = Compact::<u32>::decode(&mut rest).expect("a length").0;
    assert_eq!(rest.len(), len as usize, "the length in front");
    rest.to_vec()
}
