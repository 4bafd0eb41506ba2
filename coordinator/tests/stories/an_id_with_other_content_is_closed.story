# A participant knows the id with other content: what was promised of this content is closed
txn t1: 1 alice -5; 2 bob +5
txn t2: 1 carol -5; 2 dave +5

> submit t1 as call 1
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> s1 from 1: t1 #1 yes at @8
> s1 from 2: t1 #1 id reused
< s1 to 1: closed t1: id reused
< call 1: id reused
> submit t2 as call 2
< s2 to 1: prepare t2 #1 in epoch 1 with the whole
< s2 to 2: prepare t2 #1 in epoch 1
> s2 from 1: t2 #1 no, busy
< s2 to 1: abort t2 #1
< s2 to 2: abort t2 #1
< s2 to 1: open t2
> s2 from 1: t2 id reused
< s2 to 2: closed t2: id reused
< call 2: id reused
