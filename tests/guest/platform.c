/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workload guest: clock, sleep, serial port of the PC
 *
 * Copyright (c) 2026 the auto-converge authors
 */

#include "platform.h"

#define PIT_HZ              1193182u
#define PIT_CHANNEL_0       0x40
#define PIT_CONTROL         0x43
#define PIT_ONE_SHOT        0x30        /* channel 0, low then high, mode 0 */
#define PIT_MAX_COUNT       (PIT_HZ / 20)

#define PIC_MASTER          0x20
#define PIC_SLAVE           0xa0
#define PIC_VECTOR_BASE     0x20
#define PIC_VECTORS         16

#define PCI_ADDRESS         0xcf8
#define PCI_DATA            0xcfc
#define PCI_PIIX4_PM        0x71138086u /* function 1.3 of "pc" */
#define PCI_ICH9_LPC        0x29188086u /* function 1f.0 of "q35" */
#define PCI_PM_BASE         0x40
#define PM_BASE_MASK        0xff80u
#define PM_TIMER_OFFSET     8
#define PM_TIMER_MASK       0xffffffu   /* 24 bits on both */

#define COM1                0x3f8
#define COM_IER             (COM1 + 1)
#define COM_FCR             (COM1 + 2)
#define COM_LCR             (COM1 + 3)
#define COM_MCR             (COM1 + 4)
#define COM_LSR             (COM1 + 5)
#define LSR_DATA_READY      0x01
#define LSR_THR_EMPTY       0x20
#define COM_FIFO            16          /* bytes */

#define RING_SIZE           4096u       /* bytes, a power of 2 */
#define LINE_SIZE           128u

struct idt_entry {
    uint16_t offset_low;
    uint16_t selector;
    uint16_t flags;
    uint16_t offset_high;
};

static struct idt_entry idt[PIC_VECTOR_BASE + PIC_VECTORS];

static uint16_t pm_timer_port;
static uint32_t pm_timer_last;
static uint64_t clock_ticks;

static char ring[RING_SIZE];
static uint32_t ring_head, ring_tail;   /* free running */

static char input[LINE_SIZE], command[LINE_SIZE];
static uint32_t input_length;
static bool input_overlong, command_ready;

static inline void outb(uint16_t port, uint8_t value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;

    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void outl(uint16_t port, uint32_t value)
{
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t value;

    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static uint32_t pci_read(uint32_t device, uint32_t function, uint32_t offset)
{
    outl(PCI_ADDRESS, 0x80000000u | device << 11 | function << 8 | offset);
    return inl(PCI_DATA);
}

static bool pm_timer_init(void)
{
    uint32_t base = 0;

    if (pci_read(1, 3, 0) == PCI_PIIX4_PM) {
        base = pci_read(1, 3, PCI_PM_BASE) & PM_BASE_MASK;
    } else if (pci_read(0x1f, 0, 0) == PCI_ICH9_LPC) {
        base = pci_read(0x1f, 0, PCI_PM_BASE) & PM_BASE_MASK;
    }
    if (!base) {
        return false;
    }
    pm_timer_port = base + PM_TIMER_OFFSET;
    pm_timer_last = inl(pm_timer_port) & PM_TIMER_MASK;
    return true;
}

static void idt_set(unsigned vector, void (*handler)(void))
{
    uint32_t offset = (uint32_t)handler;

    idt[vector] = (struct idt_entry) {
        .offset_low = offset,
        .selector = 0x08,
        .flags = 0x8e00,                /* present, 32-bit interrupt gate */
        .offset_high = offset >> 16,
    };
}

void platform_init_cpu(void)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint32_t)idt };

    asm volatile("lidt %0" : : "m"(pointer));
}

static void interrupts_init(void)
{
    unsigned i;

    for (i = 0; i < PIC_VECTOR_BASE; i++) {
        idt_set(i, exception_stub);
    }
    for (; i < PIC_VECTOR_BASE + PIC_VECTORS; i++) {
        idt_set(i, irq_spurious_stub);
    }
    idt_set(PIC_VECTOR_BASE, irq_timer_stub);
    platform_init_cpu();

    outb(PIC_MASTER, 0x11);             /* edge triggered, cascade, ICW4 */
    outb(PIC_SLAVE, 0x11);
    outb(PIC_MASTER + 1, PIC_VECTOR_BASE);
    outb(PIC_SLAVE + 1, PIC_VECTOR_BASE + 8);
    outb(PIC_MASTER + 1, 4);
    outb(PIC_SLAVE + 1, 2);
    outb(PIC_MASTER + 1, 1);
    outb(PIC_SLAVE + 1, 1);
    outb(PIC_MASTER + 1, 0xfe);         /* the timer alone */
    outb(PIC_SLAVE + 1, 0xff);
}

static void serial_init(void)
{
    outb(COM_IER, 0);
    outb(COM_LCR, 0x80);
    outb(COM1, 1);                      /* 115200 baud, if it matters */
    outb(COM_IER, 0);
    outb(COM_LCR, 0x03);                /* 8n1 */
    outb(COM_FCR, 0x07);
    outb(COM_MCR, 0x03);
}

bool platform_init(void)
{
    serial_init();
    interrupts_init();
    return pm_timer_init();
}

uint64_t clock_now(void)
{
    uint32_t now = inl(pm_timer_port) & PM_TIMER_MASK;

    clock_ticks += (now - pm_timer_last) & PM_TIMER_MASK;
    pm_timer_last = now;
    return clock_ticks;
}

void clock_sleep(uint64_t ticks)
{
    uint64_t count = ticks / 3;         /* CLOCK_HZ is 3 times PIT_HZ */

    count = count > PIT_MAX_COUNT ? PIT_MAX_COUNT : count < 2 ? 2 : count;
    outb(PIT_CONTROL, PIT_ONE_SHOT);
    outb(PIT_CHANNEL_0, count);
    outb(PIT_CHANNEL_0, count >> 8);
    /* sti takes effect after hlt has begun: the interrupt cannot slip by */
    asm volatile("sti; hlt; cli" : : : "memory");
}

static void serial_receive(char c)
{
    if (command_ready) {
        return;                         /* one command at a time */
    }
    if (c == '\n' || c == '\r') {
        if (input_length && !input_overlong) {
            input[input_length] = 0;
            for (uint32_t i = 0; i <= input_length; i++) {
                command[i] = input[i];
            }
            command_ready = true;
        }
        input_length = 0;
        input_overlong = false;
    } else if (input_length < LINE_SIZE - 1) {
        input[input_length++] = c;
    } else {
        input_overlong = true;
    }
}

void serial_poll(void)
{
    uint8_t status = inb(COM_LSR);

    while ((status & LSR_DATA_READY) && !command_ready) {
        serial_receive(inb(COM1));
        status = inb(COM_LSR);
    }
    while (ring_head != ring_tail && (status & LSR_THR_EMPTY)) {
        for (int i = 0; i < COM_FIFO && ring_head != ring_tail; i++) {
            outb(COM1, ring[ring_tail++ % RING_SIZE]);
        }
        status = inb(COM_LSR);
    }
}

bool serial_put_line(const char *line)
{
    uint32_t length = 0;

    while (line[length]) {
        length++;
    }
    if (RING_SIZE - (ring_head - ring_tail) < length + 1) {
        return false;
    }
    for (uint32_t i = 0; i < length; i++) {
        ring[ring_head++ % RING_SIZE] = line[i];
    }
    ring[ring_head++ % RING_SIZE] = '\n';
    return true;
}

void serial_flush(void)
{
    while (ring_head != ring_tail) {
        serial_poll();
    }
}

char *serial_get_line(void)
{
    if (!command_ready) {
        return NULL;
    }
    command_ready = false;
    return command;
}

void platform_exception(void)
{
    serial_put_line("error exception");
    serial_flush();
}
