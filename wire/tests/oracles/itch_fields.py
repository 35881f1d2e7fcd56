"""Reads ITCH 5.0 messages with two independent readers and prints every field of each.

Input: one message a line, in hex. Output: one line a message and reader,
"<reader> <type> <field>=<value> ...", bytes in hex, integers in decimal. The reader meatpy has another
layout than the specification for the type O; it is left out there.

Packages: itchfeed (imported as itch), meatpy.
"""

import os
import sys

os.environ["ITCH_NO_CPP"] = "1"
from itch.messages import messages as itchfeed_types
from meatpy.itch50.itch50_market_message import ITCH50MarketMessage

HEAD = [("stock_locate",) * 3, ("tracking_number",) * 3, ("timestamp",) * 3]

# Type: (our field, itchfeed's attribute, meatpy's attribute), in the order of the specification.
FIELDS = {
    "S": [("event_code", "event_code", "code")],
    "R": [
        ("stock", "stock", "stock"),
        ("market_category", "market_category", "category"),
        ("financial_status", "financial_status_indicator", "status"),
        ("round_lot_size", "round_lot_size", "lotsize"),
        ("round_lots_only", "round_lots_only", "lotsonly"),
        ("issue_classification", "issue_classification", "issue_class"),
        ("issue_sub_type", "issue_sub_type", "issue_sub"),
        ("authenticity", "authenticity", "authenticity"),
        ("short_sale_threshold", "short_sale_threshold_indicator", "shortsale_thresh"),
        ("ipo_flag", "ipo_flag", "ipo_flag"),
        ("luld_tier", "luld_ref", "luld_ref"),
        ("etp_flag", "etp_flag", "etp_flag"),
        ("etp_leverage_factor", "etp_leverage_factor", "etp_leverage"),
        ("inverse_indicator", "inverse_indicator", "inverse_ind"),
    ],
    "H": [
        ("stock", "stock", "stock"),
        ("trading_state", "trading_state", "state"),
        ("reserved", "reserved", "reserved"),
        ("reason", "reason", "reason"),
    ],
    "Y": [("stock", "stock", "stock"), ("action", "reg_sho_action", "action")],
    "L": [
        ("mpid", "mpid", "mpid"),
        ("stock", "stock", "stock"),
        ("primary_market_maker", "primary_market_maker", "primary_market_maker"),
        ("market_maker_mode", "market_maker_mode", "market_maker_mode"),
        ("state", "market_participant_state", "state"),
    ],
    "V": [
        ("level_1", "level1_price", "level1"),
        ("level_2", "level2_price", "level2"),
        ("level_3", "level3_price", "level3"),
    ],
    "W": [("breached_level", "breached_level", "breached_level")],
    "K": [
        ("stock", "stock", "stock"),
        ("release_time_s", "ipo_release_time", "ipo_quotation_release_time"),
        ("release_qualifier", "ipo_release_qualifier", "ipo_quotation_release_qualifier"),
        ("ipo_price", "ipo_price", "ipo_price"),
    ],
    "J": [
        ("stock", "stock", "stock"),
        ("reference_price", "auction_collar_reference_price", "auction_collar_ref_price"),
        ("upper_price", "upper_auction_collar_price", "upper_auction_collar_price"),
        ("lower_price", "lower_auction_collar_price", "lower_auction_collar_price"),
        ("extension", "auction_collar_extention", "auction_collar_extension"),
    ],
    # meatpy's names for the two codes are its own; the places are the specification's.
    "h": [
        ("stock", "stock", "stock"),
        ("market_code", "market_code", "halt_status"),
        ("action", "operational_halt_action", "halt_reason"),
    ],
    "A": [
        ("order_reference", "order_reference_number", "order_ref"),
        ("side", "buy_sell_indicator", "bsindicator"),
        ("shares", "shares", "shares"),
        ("stock", "stock", "stock"),
        ("price", "price", "price"),
    ],
    "F": [
        ("order_reference", "order_reference_number", "order_ref"),
        ("side", "buy_sell_indicator", "bsindicator"),
        ("shares", "shares", "shares"),
        ("stock", "stock", "stock"),
        ("price", "price", "price"),
        ("attribution", "attribution", "attribution"),
    ],
    "E": [
        ("order_reference", "order_reference_number", "order_ref"),
        ("executed_shares", "executed_shares", "shares"),
        ("match_number", "match_number", "match"),
    ],
    "C": [
        ("order_reference", "order_reference_number", "order_ref"),
        ("executed_shares", "executed_shares", "shares"),
        ("match_number", "match_number", "match"),
        ("printable", "printable", "printable"),
        ("execution_price", "execution_price", "execution_price"),
    ],
    "X": [
        ("order_reference", "order_reference_number", "order_ref"),
        ("cancelled_shares", "cancelled_shares", "canceled_shares"),
    ],
    "D": [("order_reference", "order_reference_number", "order_ref")],
    "U": [
        ("original_reference", "order_reference_number", "original_ref"),
        ("new_reference", "new_order_reference_number", "new_ref"),
        ("shares", "shares", "shares"),
        ("price", "price", "price"),
    ],
    "P": [
        ("order_reference", "order_reference_number", "order_ref"),
        ("side", "buy_sell_indicator", "bsindicator"),
        ("shares", "shares", "shares"),
        ("stock", "stock", "stock"),
        ("price", "price", "price"),
        ("match_number", "match_number", "match"),
    ],
    "Q": [
        ("shares", "shares", "shares"),
        ("stock", "stock", "stock"),
        ("cross_price", "cross_price", "cross_price"),
        ("match_number", "match_number", "match"),
        ("cross_type", "cross_type", "cross_type"),
    ],
    "B": [("match_number", "match_number", "match")],
    "I": [
        ("paired_shares", "paired_shares", "paired_shares"),
        ("imbalance_shares", "imbalance_shares", "imbalance_shares"),
        ("imbalance_direction", "imbalance_direction", "imbalance_direction"),
        ("stock", "stock", "stock"),
        ("far_price", "far_price", "far_price"),
        ("near_price", "near_price", "near_price"),
        ("reference_price", "current_reference_price", "current_ref_price"),
        ("cross_type", "cross_type", "cross_type"),
        ("price_variation", "variation_indicator", "price_variation_indicator"),
    ],
    "N": [("stock", "stock", "stock"), ("interest_flag", "interest_flag", "interest")],
    "O": [
        ("stock", "stock", None),
        ("open_eligibility", "open_eligibility_status", None),
        ("minimum_price", "minimum_allowable_price", None),
        ("maximum_price", "maximum_allowable_price", None),
        ("near_price", "near_execution_price", None),
        ("near_time", "near_execution_time", None),
        ("lower_collar", "lower_price_range_collar", None),
        ("upper_collar", "upper_price_range_collar", None),
    ],
}


def text(value):
    return value.hex() if isinstance(value, bytes) else str(value)


def line(reader, letter, message, fields):
    values = " ".join(f"{ours}={text(getattr(message, theirs))}" for ours, theirs in fields)
    return f"{reader} {letter} {values}"


def main():
    for hex_line in sys.stdin:
        raw = bytes.fromhex(hex_line)
        letter = chr(raw[0])
        fields = HEAD + FIELDS[letter]
        message = itchfeed_types[raw[:1]](raw)
        print(line("itchfeed", letter, message, [(ours, a) for ours, a, _ in fields]))
        if letter != "O":
            message = ITCH50MarketMessage.from_bytes(raw)
            print(line("meatpy", letter, message, [(ours, b) for ours, _, b in fields]))


main()
