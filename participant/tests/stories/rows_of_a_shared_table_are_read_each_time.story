# A row that others write too is read for each transaction, and checked as it was read
shard 1
txn t1: 1 shared/rate =5 if >= 3
txn t2: 1 shared/rate +1
txn t3: 1 shared/rate =9
store shared/rate = 4 @-80

> single t1 from c1
> rows io1
> durable
> flushed io2
> single t2 from c2
> rows io3
> durable
> flushed io4
# A blind write is read first as well: its timestamp must be above what others wrote.
> single t3 from c3
> rows io5
> durable
