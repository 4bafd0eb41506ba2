# A row that others write too is read for each transaction, and checked as it was read
shard 1
txn t1: 1 shared/rate =5 if >= 3
txn t2: 1 shared/rate +1
txn t3: 1 shared/rate =9
store shared/rate = 4 @-80

> single t1 from c1
< read io1: shared/rate
> rows io1
+ 1 CommitSingle t1 at @0: shared/rate
> durable
< flush io2: shared/rate = 5 @1
< c1: t1 committed at @0 by 1.1
> flushed io2
> single t2 from c2
< read io3: shared/rate
> rows io3
+ 2 CommitSingle t2 at @8: shared/rate
> durable
< c2: t2 committed at @8 by 1.2
> wait 10 ms
< flush io4: shared/rate = 6 @9
> flushed io4
# A blind write is read first as well: its timestamp must be above what others wrote.
> single t3 from c3
< read io5: shared/rate
> rows io5
+ 3 CommitSingle t3 at @10000: shared/rate
> durable
< c3: t3 committed at @10000 by 1.3
