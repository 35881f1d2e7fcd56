"""Counts the records of a DBN file by Databento's own reader: `chain_count.py FILE`. One line of JSON."""

import json
import sys
from collections import Counter

import databento_dbn

with open(sys.argv[1], "rb") as file:
    decoder = databento_dbn.DBNDecoder(compression=databento_dbn.Compression.ZSTD)
    decoder.write(file.read())
records = [record for record in decoder.decode() if isinstance(record, databento_dbn.MBOMsg)]
print(
    json.dumps(
        {
            "records": len(records),
            "actions": Counter(str(record.action) for record in records),
            # Sums tell apart what counts do not.
            "size": sum(record.size for record in records),
            "price": sum(record.price for record in records),
            "order_id": sum(record.order_id for record in records),
        }
    )
)
