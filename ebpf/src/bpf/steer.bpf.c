// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// The steering program: takes the UDP packets of configured feeds to the AF_XDP socket of the queue they
// arrived on, with 32 bytes of metadata in front of them, and leaves everything else to the kernel.
//
// Packet pointers move by constants only, so that the verifier takes the program from a process without
// CAP_PERFMON; what lies behind a variable number of options is copied out by a helper.
//
// It owns nothing: the maps below outlive it (user space holds them and hands them to its successor).
// Invariant: a packet that is redirected has whole Ethernet, IPv4 and UDP headers, a UDP length that fits in
// the packet, and metadata; a packet that no feed takes may be dropped by a filter; every other one reaches the
// kernel as it came.

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define METADATA_MAGIC 0xfeedda7a
#define METADATA_HARDWARE_TIME 0x01
#define METADATA_VLAN_SHIFT 4

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define VLAN_TAGS_MAX 2

#define PROTOCOL_UDP 17
#define IPV4_FRAGMENT_MASK 0x3fff /* more fragments, or an offset */
#define IPV4_HEADER_BYTES_MIN 20
#define UDP_HEADER_BYTES 8

// The order is shared with `counters.rs`.
enum reason {
	STEERED,
	TRUNCATED,
	NOT_IPV4,
	BAD_IPV4_HEADER,
	FRAGMENT,
	NOT_UDP,
	BAD_LENGTH,
	NO_FEED,
	NO_METADATA_ROOM,
	NO_SOCKET,
	FILTERED,
	REASONS,
};

// Shared with `feeds.rs`. Addresses and port in network order.
struct feed_key {
	__u32 destination;
	__u32 source; /* 0 = any */
	__u16 port;
	__u16 zero;
};

struct feed_value {
	__u16 slot;
	__u8 line;
	__u8 zero;
};

// Shared with `filters.rs`. Found by a `feed_key` whose port may be 0, for any.
struct filter_value {
	__u64 packets;
	__u32 drop; /* 0 = leave them to the kernel */
	__u32 zero;
};

// Shared with `metadata.rs`. Host order.
struct metadata {
	__u32 magic;
	__u16 slot;
	__u8 line;
	__u8 flags;
	__u16 ipv4_offset;
	__u16 payload_offset;
	__u16 payload_bytes;
	__u16 zero;
	__u64 hardware_ns;
	__u64 tai_ns;
};
_Static_assert(sizeof(struct metadata) == 32, "drivers promise no more than 32 bytes of metadata");

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
} __attribute__((packed));

struct vlan {
	__be16 tag;
	__be16 type;
} __attribute__((packed));

struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_bytes;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
} __attribute__((packed));

struct udp {
	__be16 source_port;
	__be16 destination_port;
	__be16 bytes;
	__be16 checksum;
} __attribute__((packed));

// Sizes are set by user space before the load.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct feed_key);
	__type(value, struct feed_value);
} feeds SEC(".maps");

// Each CPU counts in its own value.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1);
	__type(key, struct feed_key);
	__type(value, struct filter_value);
} filters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym __weak;

static __always_inline void count(__u32 reason)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &reason);

	if (counter)
		*counter += 1;
}

// Counts at one place only: the program has to stay small (see `Program::outgrows_its_page`).
static __always_inline int finish(__u32 reason)
{
	count(reason);
	if (reason == STEERED)
		return XDP_REDIRECT;
	return reason == FILTERED ? XDP_DROP : XDP_PASS;
}

static __always_inline struct feed_value *find_feed(const struct ipv4 *ip, __be16 port)
{
	struct feed_key key = {
		.destination = ip->destination,
		.source = ip->source,
		.port = port,
	};
	struct feed_value *feed = bpf_map_lookup_elem(&feeds, &key);

	if (feed)
		return feed;
	key.source = 0;
	return bpf_map_lookup_elem(&feeds, &key);
}

// What becomes of a packet that no feed takes. The most exact filter decides: of this port and source, of this
// port, of this source, of the group. Only multicast is filtered, so the machine's own traffic pays nothing.
static __always_inline enum reason filter(const struct ipv4 *ip, __be16 port)
{
	struct feed_key key = {
		.destination = ip->destination,
	};
	struct filter_value *found;

	if ((ip->destination & bpf_htonl(0xf0000000)) != bpf_htonl(0xe0000000))
		return NO_FEED;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		key.port = i & 2 ? 0 : port;
		key.source = i & 1 ? 0 : ip->source;
		found = bpf_map_lookup_elem(&filters, &key);
		if (found) {
			found->packets++;
			return found->drop ? FILTERED : NO_FEED;
		}
	}
	return NO_FEED;
}

static __always_inline enum reason steer(struct xdp_md *ctx, int device_bound)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethernet *eth = data;
	struct metadata *meta;
	struct feed_value *feed;
	struct vlan *vlan;
	struct ipv4 *ip;
	struct udp udp;
	void *next = eth + 1;
	__u32 ip_bytes, ihl_bytes, udp_bytes, ipv4_offset, tags = 0;
	__u64 hardware_ns = 0;
	__be16 type;

	if (next > end)
		return TRUNCATED;
	type = eth->type;

#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		if (type != bpf_htons(ETHERTYPE_VLAN) && type != bpf_htons(ETHERTYPE_QINQ))
			break;
		vlan = next;
		next = vlan + 1;
		if (next > end)
			return TRUNCATED;
		type = vlan->type;
		tags++;
	}
	if (type != bpf_htons(ETHERTYPE_IPV4))
		return NOT_IPV4;

	ip = next;
	ipv4_offset = sizeof(*eth) + tags * sizeof(*vlan);
	if ((void *)(ip + 1) > end)
		return TRUNCATED;
	ihl_bytes = (ip->version_ihl & 0x0f) * 4;
	if (ip->version_ihl >> 4 != 4 || ihl_bytes < IPV4_HEADER_BYTES_MIN)
		return BAD_IPV4_HEADER;
	if (ip->fragment & bpf_htons(IPV4_FRAGMENT_MASK))
		return FRAGMENT;
	if (ip->protocol != PROTOCOL_UDP)
		return NOT_UDP;

	if (ihl_bytes == IPV4_HEADER_BYTES_MIN) {
		if ((void *)(ip + 1) + sizeof(udp) > end)
			return TRUNCATED;
		udp = *(struct udp *)(ip + 1);
	} else if (bpf_xdp_load_bytes(ctx, ipv4_offset + ihl_bytes, &udp, sizeof(udp))) {
		return TRUNCATED;
	}
	ip_bytes = bpf_ntohs(ip->total_bytes);
	udp_bytes = bpf_ntohs(udp.bytes);
	if (ipv4_offset + ip_bytes > bpf_xdp_get_buff_len(ctx) || udp_bytes < UDP_HEADER_BYTES ||
	    udp_bytes + ihl_bytes > ip_bytes)
		return BAD_LENGTH;

	feed = find_feed(ip, udp.destination_port);
	if (!feed)
		return filter(ip, udp.destination_port);

	// Before the metadata is made room for: some NICs leave their time in the bytes in front of the packet.
	if (device_bound && bpf_xdp_metadata_rx_timestamp(ctx, &hardware_ns))
		hardware_ns = 0;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta)))
		return NO_METADATA_ROOM;
	meta = (void *)(long)ctx->data_meta;
	if ((void *)(meta + 1) > (void *)(long)ctx->data)
		return NO_METADATA_ROOM;

	meta->magic = METADATA_MAGIC;
	meta->slot = feed->slot;
	meta->line = feed->line;
	meta->flags = (hardware_ns ? METADATA_HARDWARE_TIME : 0) | tags << METADATA_VLAN_SHIFT;
	meta->ipv4_offset = ipv4_offset;
	meta->payload_offset = ipv4_offset + ihl_bytes + UDP_HEADER_BYTES;
	meta->payload_bytes = udp_bytes - UDP_HEADER_BYTES;
	meta->zero = 0;
	meta->hardware_ns = hardware_ns;
	meta->tai_ns = bpf_ktime_get_tai_ns();

	if (bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS) == XDP_REDIRECT)
		return STEERED;
	// The kernel must not see our metadata on what it takes itself.
	bpf_xdp_adjust_meta(ctx, sizeof(*meta));
	return NO_SOCKET;
}

// For a device that a program can be bound to: reads the NIC's receive time.
SEC("?xdp")
int steer_device_bound(struct xdp_md *ctx)
{
	return finish(steer(ctx, 1));
}

// For every other device.
SEC("?xdp")
int steer_plain(struct xdp_md *ctx)
{
	return finish(steer(ctx, 0));
}

// The kernel gives kfuncs to programs under the GPL only.
char LICENSE[] SEC("license") = "GPL";
