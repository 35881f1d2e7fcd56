// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// Traffic for benches and tests: `generate` sends a template frame out of an interface as often as the
// kernel's test run repeats it, each with its own number and time; `pass` is what the other end of a veth
// pair needs so that frames sent by XDP reach it.

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETHERNET_BYTES 14
#define IPV4_BYTES 20
#define UDP_CHECKSUM_OFFSET (ETHERNET_BYTES + IPV4_BYTES + 6)

// At the start of the UDP payload; shared with `traffic.rs`. Little-endian hosts only, as the rest.
struct stamp {
	__u64 sequence;
	__u64 tai_ns;
};

struct frame {
	__u8 headers[UDP_CHECKSUM_OFFSET];
	__u16 udp_checksum;
	struct stamp stamp;
} __attribute__((packed));

const volatile __u32 target_ifindex = 0;
__u64 next_sequence = 0;

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(long)ctx->data;
	struct stamp stamp;

	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	stamp.sequence = __sync_fetch_and_add(&next_sequence, 1);
	stamp.tai_ns = bpf_ktime_get_tai_ns();
	// RFC 1624. Frames are recycled by the test run, so what is replaced is the stamp of an earlier lap.
	if (frame->udp_checksum) {
		struct stamp last = frame->stamp;
		__u64 sum = bpf_csum_diff((__be32 *)&last, sizeof(last), (__be32 *)&stamp, sizeof(stamp),
					  (__u16)~frame->udp_checksum);

		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (__u16)~sum;
		frame->udp_checksum = sum ? sum : 0xffff;
	}
	frame->stamp = stamp;
	return bpf_redirect(target_ifindex, 0);
}

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
