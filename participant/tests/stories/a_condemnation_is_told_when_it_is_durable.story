# Who waited for a lock when the home condemned the attempt hears of it only once that is durable
shard 1
txn t1: 1 alice =1; 2 bob =1
txn t2: 1 alice =1; 2 bob -5 if >= 5

> open t2 from c1
> wait 10 ms
> prepare t1 #1 from c1
> durable
> prepare t2 #2 from c9
> condemn t2 #2: condition 0 on bob found 4
> durable
