# The home is asked to open what it is about to prepare: its own attempt finds the first one busy
shard 1
txn t1: 1 alice +1; 2 bob +1

> prepare t1 #1 from c1
> open t1 from c2
> durable
> wait 10 ms
> prepare t1 #2 from c9
> abort t1 #2
> rows io1
> durable
> commit t1 #1 at @10000
> durable
